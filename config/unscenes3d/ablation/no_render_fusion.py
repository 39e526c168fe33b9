# Without RenderFusion: the volumes are concatenated; Gaussians are still splatted.
_base_ = "../unscenes3d_occ.py"
model = dict(
    parts=dict(fusion=dict(_delete_=True, type="ConcatFusion", channels=128)),
)
