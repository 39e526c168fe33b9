import pytest
import torch

from model import rendering_terms
from model.rendering_terms import RenderingTerms
from model.supervision import RenderOptions
from tests.model_inputs import GRID

OPTIONS = dict(stride=2, ray_step=1, near_m=0.5, far_m=16.0, num_segments=320)


def test_compiling_replaces_the_functions_of_fixed_shapes(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, options: (function, options))
    terms = RenderingTerms(RenderOptions(**OPTIONS), GRID, GRID, ())
    terms.compile({"size_asserts": False})
    for name in rendering_terms.COMPILED_FUNCTIONS:
        expected = (getattr(rendering_terms, name), {"size_asserts": False})
        assert getattr(terms, name) == expected


@pytest.mark.parametrize(
    ("novel_views", "fields", "parts", "names"),
    [
        (0, (), (False, False), []),
        (0, ("camera",), (True, False), ["image_semantic", "image_lovasz", "render_depth"]),
        (2, (), (False, True), ["splat_semantic", "splat_lovasz", "splat_depth", "novel_depth"]),
    ],
)
def test_terms_are_those_of_the_parts(novel_views, fields, parts, names):
    options = RenderOptions(**OPTIONS, novel_views=novel_views)
    terms = RenderingTerms(options, GRID, GRID, fields)
    has_image_classes, has_gaussians = parts
    found = terms.names(has_image_classes=has_image_classes, has_gaussians=has_gaussians)
    assert found == names
