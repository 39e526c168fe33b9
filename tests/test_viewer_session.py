import contextlib
import shutil
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.frames.sources import Predicted, ViewFrame
from engine.frames.splats import Splats
from engine.viewer.choice import (
    CAMERAS,
    DIFFERENCE,
    ELEVATION,
    GAUSSIANS,
    LABEL,
    POINTS,
    PREDICTION,
    UNLABELED,
)
from tests.layout_files import Rig
from utils.geometry import VoxelGrid
from utils.labels import IGNORE, UNSCENES3D

viser = pytest.importorskip("viser", reason="the viewer needs viser")
from engine.viewer.session import Session  # noqa: E402

GRID = VoxelGrid((0.0, -8.0, -4.0), 1.0, (16, 16, 6))
TRUCK, ROAD = UNSCENES3D.index("truck"), UNSCENES3D.index("driveable_surface")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WINDOW = (480, 300)


class TinySource:
    """Four frames: a road and a truck that drives away; the third cannot be read."""

    grid, labels = GRID, UNSCENES3D
    stems = ["1.0", "2.0", "3.0", "4.0"]  # noqa: RUF012

    def __init__(self):
        self.reads, self.is_partly_labeled = [], False

    def read(self, index):
        self.reads.append(index)
        if index == 2:
            raise ValueError("images/3.0.jpg is damaged")
        label = np.zeros(GRID.shape, np.uint8)
        label[:, :, 0] = ROAD
        prediction = label.copy()
        if self.is_partly_labeled:
            label[0] = IGNORE
        label[4 + index : 8 + index, 6:9, 1:4] = TRUCK
        prediction[5 + index : 9 + index, 6:9, 1:4] = TRUCK
        sample = Sample(
            self.stems[index],
            scene="scene_00000",
            images=torch.full((1, 3, 60, 96), 90, dtype=torch.uint8),
            points=torch.rand(200, 4) * torch.tensor([16, 8, 2, 1.0]),
            pixel_from_lidar=torch.from_numpy(Rig((60, 96)).pixel_from_lidar).float()[None],
            occupancy=torch.from_numpy(label) if index < 3 else None,
            elevation_m=torch.zeros(40, 43),
        )
        splats = Splats(
            np.float32([[8, 0, 2]]),
            np.eye(3, dtype=np.float32)[None],
            np.float32([[1, 0, 0]]),
            np.ones((1, 1), np.float32),
        )
        return ViewFrame(sample, Predicted(prediction, splats))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def session():
    """A session that nobody drives yet."""
    server = viser.ViserServer("127.0.0.1", free_port(), verbose=False)
    session = Session(server, TinySource(), ahead=1, keep=2)
    yield session
    session.close()
    server.stop()


def nodes(session, index=0):
    """Paths of the nodes of a frame that are visible, below the frame."""
    scene, root = session._server.scene, f"/frames/{index}"
    handles = scene._handle_from_node_name
    if root not in handles or not handles[root].visible:
        return set()
    below = {name: node for name, node in handles.items() if name.startswith(root + "/")}
    drawn = {name.removeprefix(root + "/") for name, node in below.items() if node.visible}
    return {
        name
        for name in drawn
        if name.count("/") == 1 or name in {"points", "elevation", "gaussians"}
    }


def test_shows_the_prediction_the_points_and_the_camera_first(session):
    session.follow()
    assert nodes(session) == {
        f"{PREDICTION}/truck_objects",
        f"{PREDICTION}/driveable_surface_ground",
        "points",
        "camera_0/image",
        "camera_0/edges",
    }
    assert "scene_00000 · 1.0** (1 of 4)" in session._panel._status.content
    # 36 voxels of the truck each, 27 in common: (27 + 256) / (45 + 256).
    assert "IoU 94.0 %" in session._panel._status.content


def cameras_around(count):
    """Pinhole cameras of 40×30 pixels at the origin, which look around in equal steps."""
    intrinsic = np.array([[20.0, 0, 20], [0, 20, 15], [0, 0, 1]])
    matrices = np.tile(np.eye(4), (count, 1, 1))
    for matrix, angle in zip(matrices, np.arange(count) * 2 * np.pi / count, strict=True):
        forward, right = (np.cos(angle), np.sin(angle), 0.0), (np.sin(angle), -np.cos(angle), 0.0)
        matrix[:3, :3] = intrinsic @ [right, (0.0, 0.0, -1.0), forward]
    return torch.from_numpy(matrices).float()


def test_six_cameras_stand_around_and_are_looked_through_in_turn(session, monkeypatch):
    read = session._source.read

    def read_six(index):
        frame = read(index)
        frame.sample.images = torch.zeros(6, 3, 30, 40, dtype=torch.uint8)
        frame.sample.pixel_from_lidar = cameras_around(6)
        return frame

    monkeypatch.setattr(session._loader, "_read", read_six)
    session.follow()
    drawn = {name for name in nodes(session) if name.startswith("camera_")}
    parts = ("image", "edges")
    assert drawn == {f"camera_{number}/{part}" for number in range(6) for part in parts}
    seen = []
    client = SimpleNamespace(camera=SimpleNamespace(), atomic=contextlib.nullcontext)
    for view in (*["Camera"] * 7, "Above", "Camera"):
        session._move_camera(SimpleNamespace(target=SimpleNamespace(value=view), client=client))
        x, y, _ = np.subtract(client.camera.look_at, client.camera.position)
        seen.append(round(np.degrees(np.arctan2(y, x))) % 360)
    assert seen[:7] == [0, 60, 120, 180, 240, 300, 0]
    assert seen[8] == 0  # After another view the first again.
    assert client.camera.fov == pytest.approx(2 * np.arctan(15 / 20))


def test_follows_the_panel(session):
    panel = session._panel
    session.follow()
    panel._layer.value = LABEL
    panel._ground.value = False
    for name in (POINTS, CAMERAS):
        panel._extras[name].value = False
    session.follow()
    assert nodes(session) == {f"{LABEL}/truck_objects"}
    panel._boxes["truck"].value = False
    for name in (ELEVATION, GAUSSIANS):
        panel._extras[name].value = True
    session.follow()
    assert nodes(session) == {"elevation", "gaussians"}
    panel._layer.value = DIFFERENCE
    panel._boxes["correct"].value = False
    session.follow()
    assert nodes(session) == {
        f"{DIFFERENCE}/missed_objects",
        f"{DIFFERENCE}/invented_objects",
        "elevation",
        "gaussians",
    }
    assert panel._errors.visible
    assert not panel._classes.visible
    assert ">9<" in panel._swatches["missed"][0].content


def test_the_edge_of_the_labels_is_drawn_on_demand(session):
    session._source.is_partly_labeled = True
    session._panel._extras[UNLABELED].value = True
    session.follow()
    assert session._server.scene._handle_from_node_name["/frames/0/unlabeled"].visible


def test_all_classes_at_once(session):
    boxes = session._panel._boxes
    session._panel._everything["unscenes3d"].value = False
    assert not any(boxes[name].value for name in UNSCENES3D.class_names[1:])
    assert boxes["missed"].value


def test_one_frame_at_a_time_and_only_the_last_ones_kept(session):
    session.follow()
    session._panel.go_to(1)
    session.follow()
    assert nodes(session, 0) == set()
    assert f"{PREDICTION}/truck_objects" in nodes(session, 1)
    session._panel.go_to(3)
    session.follow()
    kept = {name for name in session._server.scene._handle_from_node_name if name.count("/") == 2}
    assert {name for name in kept if name.startswith("/frames/")} == {"/frames/1", "/frames/3"}


def test_a_frame_without_a_label_offers_only_the_prediction(session):
    session._panel._layer.value = DIFFERENCE
    session._panel.go_to(3)
    session.follow()
    assert session._panel._layer.options == (PREDICTION,)
    assert session._panel.choice.layer == PREDICTION
    assert f"{PREDICTION}/truck_objects" in nodes(session, 3)
    assert "IoU" not in session._panel._status.content


def test_a_frame_that_cannot_be_read_is_said_and_the_rest_resumes(session):
    session._panel.go_to(2)
    session.follow()
    assert "cannot be shown:** images/3.0.jpg is damaged" in session._panel._status.content
    session._panel.go_to(0)
    session.follow()
    assert nodes(session)


def test_the_next_frames_are_made_in_the_background_and_played(session):
    thread = threading.Thread(target=session.run)
    thread.start()
    try:
        wait_for(lambda: "/frames/1" in session._server.scene._handle_from_node_name)
        assert nodes(session, 1) == set()
        session._panel._rate.value = 20
        session._panel._play.value = True
        wait_for(lambda: session._panel.index == 3)  # Past the frame that cannot be read.
        session._panel._play.value = False
    finally:
        session.close()
        thread.join(timeout=60)
    assert not thread.is_alive()


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def client(session, tmp_path):
    """A browser that has opened the page, and the thread that drives the session."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    thread = threading.Thread(target=session.run)
    thread.start()
    browser = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--ignore-gpu-blocklist",
            f"--user-data-dir={tmp_path / 'browser'}",
            f"--window-size={WINDOW[0]},{WINDOW[1]}",
            f"http://127.0.0.1:{session._server.get_port()}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: session._server.get_clients())
        yield next(iter(session._server.get_clients().values()))
    finally:
        browser.terminate()
        browser.wait(timeout=60)
        session.close()
        thread.join(timeout=60)


def test_the_page_in_a_browser_shows_what_the_panel_says(session, client):
    panel = session._panel
    panel._extras[POINTS].value = panel._extras[CAMERAS].value = False
    forward = np.array([0.8, 0.0, -0.6])  # From above and behind, at the truck.
    axes = np.column_stack([[0.0, -1, 0], np.cross(forward, [0.0, -1, 0]), forward])
    viewpoint = dict(
        wxyz=viser.transforms.SO3.from_matrix(axes).wxyz,
        position=np.array([6.0, 0.0, -2.0]) - 14 * forward,
        fov=0.9,
    )

    def look():
        picture = client.get_render(200, 320, **viewpoint, transport_format="png", timeout=120)
        return picture.astype(int)

    def settle(condition):
        """Images until one is as expected: what is sent is drawn a moment later."""
        end = time.monotonic() + 120
        while not condition(picture := look()):
            assert time.monotonic() < end, "the picture did not become as expected"
        return picture

    def purple(picture):  # The truck's color: blue over red over green.
        red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
        return ((blue > red + 20) & (red > green + 30)).sum()

    def magenta(picture):  # The road's.
        red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
        return ((red > green + 60) & (abs(red - blue) < 40)).sum()

    settle(lambda picture: purple(picture) > 100 and magenta(picture) > 1000)
    panel._boxes["truck"].value = False
    settle(lambda picture: purple(picture) < 20 and magenta(picture) > 1000)
    panel._ground.value = False
    settle(lambda picture: magenta(picture) < 20)
    panel._layer.value = DIFFERENCE
    panel._boxes["correct"].value = False
    missed = settle(lambda picture: (picture[..., 0] > picture[..., 2] + 80).sum() > 50)
    panel._boxes["missed"].value = False
    settle(lambda picture: (picture != missed).any(-1).sum() > 50)


class TwoSensors:
    """A network that sees a truck with the LiDAR only; stands in for a network's predictions."""

    choices = ("both", "camera", "lidar")
    sensors = "both"

    def use_sensors(self, sensors):
        self.sensors = sensors


def test_the_sensors_of_the_network_are_changed_while_it_runs():
    choice, source = TwoSensors(), TinySource()
    read = source.read

    def read_from_sensors(index):
        frame = read(index)
        if choice.sensors == "camera":
            frame.predicted.occupancy[frame.predicted.occupancy == TRUCK] = 0
        return frame

    source.read = read_from_sensors
    server = viser.ViserServer("127.0.0.1", free_port(), verbose=False)
    session = Session(server, source, ahead=1, keep=3, sensors=choice)
    try:
        session.follow()
        assert session._panel._sensors.options == choice.choices
        assert f"{PREDICTION}/truck_objects" in nodes(session)
        session._panel._sensors.value = "camera"
        session.follow()
        assert f"{PREDICTION}/truck_objects" not in nodes(session)
        session._panel._sensors.value = "lidar"
        session.follow()
        assert f"{PREDICTION}/truck_objects" in nodes(session)
        reads = len(source.reads)
        session.follow()
        assert len(source.reads) <= reads + 1  # The one ahead.
    finally:
        session.close()
        server.stop()


def test_without_a_choice_of_sensors_there_is_no_control(session):
    assert session._panel.sensors is None
