# Road elevation alone: no class losses, nothing rendered.
_base_ = "unscenes3d_elevation.py"
model = dict(
    parts=dict(refinement=None),
    rendering=None,
    loss=dict(
        weights=dict(cross_entropy=0.0, lovasz_softmax=0.0, sem_scal=0.0, geo_scal=0.0),
    ),
)
schedule = dict(val_interval=0)  # eval_elevation.py scores it; validation scores the occupancy
runtime = dict(find_unused_parameters=True)  # RenderFusion's, for what would only be rendered
