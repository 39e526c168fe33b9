import numpy as np

from engine.pictures.color_maps import TURBO


def test_turbo_has_256_rgb_steps_from_blue_to_red():
    assert TURBO.shape == (256, 3)
    assert TURBO.dtype == np.uint8
    assert np.argmax(TURBO[60]) == 2  # Blue.
    assert np.argmax(TURBO[210]) == 0  # Red.
