import pytest

from engine.build.label_free import label_free_arguments, label_free_fields
from model.objective import LabelFreeOptions, LossOptions


@pytest.mark.parametrize(
    ("supervision", "label_free", "fields"),
    [
        ("lidar", {}, ("lidar_rays",)),
        ("video", dict(masks="masks"), ("video", "masks")),
        ("both", dict(point_labels="labels"), ("lidar_rays", "video", "voxel_classes")),
    ],
)
def test_fields_are_those_that_supervise(supervision, label_free, fields):
    options = LossOptions({}, supervision=supervision, label_free=label_free)
    assert label_free_fields(options) == fields


def test_arguments_name_the_folders_that_are_read_and_no_others():
    counts = dict(num_sources=2, source_spacing_m=1.5, num_rays=100)
    options = dict(sources=2, spacing_m=1.5, rays=100)
    assert label_free_arguments(LabelFreeOptions(**options)) == counts
    folders = dict(point_labels="labels", point_mapping="classes.yaml")
    found = label_free_arguments(LabelFreeOptions(**options, masks="masks", **folders))
    assert found == counts | folders | dict(mask_folder="masks")
