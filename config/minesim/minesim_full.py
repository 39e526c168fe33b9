# The reference model on MineSim at full size: tools/make_minesim.py --out data/minesim makes it.
_base_ = ["../unscenes3d/unscenes3d_occ.py", "../_base_/minesim_encoder.py"]
model = dict(parts=dict(image_encoder={{_base_._image_encoder}}))
data_root = "data/minesim"
dataset = dict(split_source="lists")
augmentation = dict(
    image=dict(blur_px=1.0, noise=0.05, patches=3),  # keeps more without an image
    paste=dict(objects=3),
)
schedule = dict(repeat_threshold=0.3)
