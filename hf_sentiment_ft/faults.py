"""What a machine's faults mean for a run, and what to change."""

import errno

NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
# What Accelerate, Trainer, cuBLAS and oneDNN say when memory is short, beside the allocators themselves.
TOO_LARGE = ("No executable batch size found", "out-of-memory", "CUBLAS_STATUS_ALLOC_FAILED")
ONEDNN_TOO_LARGE = "could not create a primitive"  # and no more: "… a primitive descriptor" is of something else
# What gloo says when it cannot connect the processes, to begin with.
NOT_CONNECTED = ("Unable to find address", "Unable to resolve hostname", "connectFullMesh failed")
# What gloo and NCCL say when the process at the other end has gone.
LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")


def explain_fault(error: Exception) -> str | None:
    """One sentence on a full disk, a missing permission, too little memory, a dead process; None for other errors."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}. Checkpoints saved before are intact."
    text = str(error)
    short = any(sign in text for sign in TOO_LARGE) or text.strip() == ONEDNN_TOO_LARGE
    if short or isinstance(error, MemoryError) or should_reduce_batch_size(error):
        first = text.strip().splitlines()[0] if text.strip() else "MemoryError"
        return (
            f"out of memory ({first}). Lower --per_device_train_batch_size and raise --gradient_accumulation_steps by "
            "the same factor, or lower --max_tokens_per_microbatch (not with FSDP and DeepSpeed): both change nothing "
            "else. Or lower --max_seq_length, use --gradient_checkpointing, or let --auto_find_batch_size search. If "
            "it was an evaluation, lower --per_device_eval_batch_size."
        )
    if "DataLoader worker" in text:
        return (
            f"{text.strip().splitlines()[0]}. A process that loads data has died, often for want of memory: lower "
            "--dataloader_num_workers (0 for none), then go on by --resume_from_checkpoint true."
        )
    if any(sign in text for sign in NOT_CONNECTED):
        return explain_connection(text.strip().splitlines()[0])
    if any(lost in text for lost in LOST):
        return (
            f"lost the connection to another process ({text.strip().split('. ')[0]}). It has failed or was killed; "
            "what is printed above, or the system's log, may say why. Go on by --resume_from_checkpoint true."
        )
    return None


def explain_connection(said: str) -> str:
    """One sentence on processes that gloo could not connect, with what it said."""
    return (
        f"the processes cannot be connected by gloo ({said}). On machines with several network interfaces, name the "
        "one by which they reach each other in the environment, such as GLOO_SOCKET_IFNAME=eth0 (NCCL on GPUs reads "
        "NCCL_SOCKET_IFNAME)."
    )
