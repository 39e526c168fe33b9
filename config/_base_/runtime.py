# How a run is executed and logged. None of this changes the trained network.
runtime = dict(
    num_workers=4,  # reading processes per data loader; 0: read in the training process
    log_interval=10,  # iterations between lines in the log file and points in TensorBoard
    checkpoint_iters=200,  # iterations between writes of latest.pth, with --iter-resume
    # The validation score to keep weights by: iou | miou | long_tail_miou; without labels, depth_…
    best_metric="miou",
    tensorboard=True,  # write curves for TensorBoard to the work directory
    find_unused_parameters=False,  # with several processes: allow weights without a gradient
    compile=False,  # torch.compile dense parts and losses: minutes at the start, then faster steps
    cudnn_benchmark=True,  # let cuDNN time its algorithms; its choice may differ between runs
)
