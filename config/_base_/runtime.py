# What a run does besides training; none of it changes the network that comes out.
runtime = dict(
    num_workers=4,  # processes a data loader that read frames; 0: read in the training process
    log_interval=10,  # iterations between lines in the log file and points in TensorBoard
    checkpoint_iters=200,  # iterations between writes of latest.pth, with --iter-resume
    best_metric="miou",  # iou | miou | long_tail_miou: the validation score to keep weights by
    tensorboard=True,  # write curves for TensorBoard to the work directory
    find_unused_parameters=False,  # several processes: let some weights have no gradient
    compile=False,  # torch.compile the dense parts: a minute at the start, faster steps after
    cudnn_benchmark=True,  # let cuDNN time its algorithms; the fastest may differ between runs
)
