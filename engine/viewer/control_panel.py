"""The viewer's control panel: the user's choices, and a status line about the frame."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import viser

from engine.frames.sources import SensorChoice
from engine.pictures.frame_errors import ERRORS
from engine.viewer.choice import CAMERAS, DIFFERENCE, EXTRAS, LAYERS, POINTS, Choice
from engine.viewer.voxels import VoxelGroup
from utils.labels import LabelSet

TITLE = "UnsOcc"
VIEWS = ("Driver", "Camera", "Above", "Side")
_SWATCH = (
    '<div style="height:0;position:relative;z-index:1;font-size:0.8em">'
    '<div style="position:absolute;right:1em;top:0.05em;display:flex;align-items:center;'
    'gap:0.6em;color:#7a808c"><span>{note}</span><span style="width:1.3em;height:1.3em;'
    'border-radius:3px;border:1px solid #0002;background:rgb{color}"></span></div></div>'
)
"""Overlay on the right end of the next row, which is the checkbox of a class."""


class ControlPanel:
    """The control panel.

    Args:
        gui: GUI to add the controls to.
        labels: Classes that can be hidden.
        count: Number of frames.
        sensors: What the network can predict from; None if there is no choice.
        changed: Called on each change by the user, from any thread.

    Attributes:
        views: Buttons of ``VIEWS``.
        screenshot: Screenshot button.
    """

    def __init__(
        self,
        gui: viser.GuiApi,
        labels: LabelSet,
        count: int,
        sensors: SensorChoice | None,
        changed: Callable[[], None],
    ) -> None:
        self._changed, self._count = changed, count
        self._swatches: dict[str, Any] = {}
        self._boxes: dict[str, Any] = {}
        self._everything: dict[str, Any] = {}
        gui.set_panel_label(TITLE)
        gui.configure_theme(show_logo=False, show_share_button=False)
        self._status = gui.add_markdown("Loading …")
        self._slider: Any = gui.add_slider(
            "Frame", 1, max(count, 1), 1, 1, disabled=count < 2, hint="Frame of the sequence"
        )
        self._play = gui.add_checkbox("Play", False, disabled=count < 2)
        self._rate = gui.add_slider(
            "Frames / s", 1, 20, 1, 2, disabled=count < 2, hint="Slower if loading takes longer"
        )
        self._layer: Any = gui.add_dropdown("Voxels", LAYERS, initial_value=LAYERS[0])
        self._sensors: Any = None
        if sensors is not None:
            self._sensors = gui.add_dropdown(
                "Predict from",
                sensors.choices,
                initial_value=sensors.sensors,
                hint="Sensors that the network reads",
            )
            self._sensors.on_update(lambda _: changed())
        self._ground = gui.add_checkbox("Ground", True, hint="Road, terrain and mud")
        self._extras = {name: gui.add_checkbox(name, name in (POINTS, CAMERAS)) for name in EXTRAS}
        self.views = gui.add_button_group("View from", VIEWS)
        self.screenshot = gui.add_button("Screenshot", icon=viser.Icon.CAMERA)
        self._classes = gui.add_folder("Classes")
        with self._classes:
            self._add_boxes(gui, labels)
        self._errors = gui.add_folder("Differences", visible=False)
        with self._errors:
            self._add_boxes(gui, ERRORS)
        controls = (self._slider, self._play, self._rate, self._layer, self._ground)
        for control in (*controls, *self._extras.values(), *self._boxes.values()):
            control.on_update(lambda _: changed())

    @property
    def index(self) -> int:
        """Index of the selected frame."""
        return int(self._slider.value) - 1

    @property
    def is_playing(self) -> bool:
        """Whether the sequence is playing."""
        return bool(self._play.value)

    @property
    def period_s(self) -> float:
        """Time between frames while playing [s]."""
        return 1.0 / self._rate.value

    @property
    def choice(self) -> Choice:
        """What to show of the frame."""
        return Choice(
            layer=self._layer.value,
            hidden=frozenset(name for name, box in self._boxes.items() if not box.value),
            ground=self._ground.value,
            extras=frozenset(name for name, box in self._extras.items() if box.value),
        )

    @property
    def sensors(self) -> str | None:
        """Sensors to predict from; None if there is no choice."""
        return None if self._sensors is None else str(self._sensors.value)

    def go_to(self, index: int) -> None:
        """Move the slider to a frame."""
        self._slider.value = index + 1

    def set_status(self, text: str) -> None:
        """Show Markdown at the top of the panel."""
        if self._status.content != text:
            self._status.content = text

    def show_available(
        self, layers: Sequence[str], extras: Sequence[str], layer: str | None
    ) -> None:
        """Show only the controls that apply to the frame, with ``layer`` selected."""
        if layers and tuple(self._layer.options) != tuple(layers):
            self._layer.options = tuple(layers)
        if layer is not None and self._layer.value != layer:
            self._layer.value = layer
        _set_visible(self._layer, bool(layers))
        _set_visible(self._ground, bool(layers))
        _set_visible(self._classes, bool(layers) and layer != DIFFERENCE)
        _set_visible(self._errors, layer == DIFFERENCE)
        for name, box in self._extras.items():
            _set_visible(box, name in extras)

    def show_voxel_counts(self, groups: Sequence[VoxelGroup]) -> None:
        """Show the number of voxels beside each class."""
        counts: dict[str, int] = {}
        for group in groups:
            counts[group.name] = counts.get(group.name, 0) + group.num_voxels
        for name, (swatch, color) in self._swatches.items():
            content = _swatch(color, f"{counts[name]:,}" if name in counts else "")
            if swatch.content != content:
                swatch.content = content

    def _add_boxes(self, gui: viser.GuiApi, kinds: LabelSet) -> None:
        """Add a checkbox with a color for each kind except free, and one for all of them."""
        names = kinds.class_names[1:]
        everything = gui.add_checkbox("all", True)
        self._everything[kinds.name] = everything
        for name, color in zip(names, kinds.colors[1:], strict=True):
            self._swatches[name] = gui.add_html(_swatch(color, "")), color
            self._boxes[name] = gui.add_checkbox(name.replace("_", " "), True)

        @everything.on_update
        def _(_: Any) -> None:
            for name in names:
                self._boxes[name].value = everything.value


def _swatch(color: tuple[int, int, int], note: str) -> str:
    return _SWATCH.format(note=html.escape(note), color=color)


def _set_visible(control: Any, is_visible: bool) -> None:
    if control.visible != is_visible:
        control.visible = is_visible
