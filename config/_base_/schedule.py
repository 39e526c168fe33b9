# How the network is trained.
schedule = dict(
    epochs=24,
    batch_size=1,  # frames a process (one process a GPU); the learning rate does not scale with it
    repeat_threshold=0.0,  # classes in a smaller share of the frames come more often; 0: none
    lr=2e-4,  # peak of AdamW's learning rate: linear warm-up, then a cosine
    warmup_share=0.05,  # length of the warm-up, as a share of all iterations
    min_lr_share=0.01,  # the last iteration's learning rate, as a share of the peak
    weight_decay=0.01,  # of weights, not of biases and norms
    gradient_accumulation=1,  # iterations whose gradients are averaged for one update
    clip_grad_norm=5.0,  # maximum norm of an update's gradient; 0: no limit
    ema_decay=0.999,  # moving average of the weights, which is scored; 0: none
    amp="off",  # off | bf16 | fp16: precision of training and of its validation, on CUDA
    val_interval=1,  # epochs between validations; the last epoch is always validated; 0: never
)
