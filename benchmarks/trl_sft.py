"""TRL's SFTTrainer on prompt and completion, as its documentation sets it up; `--fast` and `--lora` change that.

Its own defaults: bf16 autocast, gradient checkpointing, batches of 8, loss on the completion only.
"""

from .clock import put_clock_on_trainers
from .material import WORDS, load_rows, peer_settings, prompt_of, side_parser


def main() -> None:
    parser = side_parser("trl_sft")
    parser.add_argument(
        "--fast", action="store_true", help="no gradient checkpointing, and rows as they come, by length"
    )
    parser.add_argument("--padding_free", action="store_true", help="rows of a batch in one sequence, without padding")
    parser.add_argument("--lora", action="store_true", help="LoRA of PEFT on all linear layers")
    args = parser.parse_args()

    from trl import SFTConfig, SFTTrainer

    def to_prompt_and_completion(row: dict) -> dict:
        return {"prompt": prompt_of(row["text"]), "completion": WORDS[row["label"]]}

    rows = load_rows(args.dataset, args.rows).map(to_prompt_and_completion, remove_columns=["text", "label"])
    config = SFTConfig(
        **peer_settings(args),
        model_init_kwargs={"dtype": "float32"},
        **({"padding_free": True, "max_length": None} if args.padding_free else {}),
        **({"gradient_checkpointing": False} if args.fast else {}),
        **({"train_sampling_strategy": "sequential"} if args.fast and not args.padding_free else {}),
    )
    lora = None
    if args.lora:
        from peft import LoraConfig

        lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM")
    put_clock_on_trainers(args.warmup_steps, args.batch_size)
    SFTTrainer(model=str(args.model), args=config, train_dataset=rows, peft_config=lora).train()


if __name__ == "__main__":
    main()
