"""Make a chat model that is small enough for a test: ``python tiny_model.py FOLDER``.

Its weights are random but always the same, so that its answers have no meaning. It is loaded and served like
any other model. Each token is a whole word. The model never ends an answer: the options of the request do.
"""

from __future__ import annotations

import sys
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # type: ignore[import-not-found]
from transformers import (  # type: ignore[import-not-found]
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

WORDS: Final = (
    " agent answers asks axon bus carries dendrite ends engram every finds first gives goes hears hello "
    "keeps last listens message moves neuron opens pathway plugin prompt reads remembers says sees sends "
    "signal source speaks starts stream synapse task token trace waits word works writes"
)
BEGIN: Final = "<|begin|>"
END: Final = "<|end|>"
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def main(folder: str) -> None:
    """Save tokenizer, weights and settings in ``folder``, in the layout of a download."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    set_seed(0)
    model = LlamaForCausalLM(_config(tokenizer))
    model.generation_config = _generation_config(tokenizer)
    model.save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer for any text, with one token per known word and one per byte of other text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Large enough for every merge, so that each word becomes one token.
    size = len(alphabet) + len(WORDS)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=[BEGIN, END], show_progress=False
    )
    bpe.train_from_iterator([WORDS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BEGIN, eos_token=END, chat_template=CHAT_TEMPLATE
    )


def _config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=None,
    )


def _generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Settings that sample, so that a temperature has an effect, and that allow only words."""
    words = set(tokenizer.encode(WORDS))
    silent = [token for token in range(len(tokenizer)) if token not in words]
    return GenerationConfig(do_sample=True, bos_token_id=tokenizer.bos_token_id, suppress_tokens=silent)


if __name__ == "__main__":
    main(sys.argv[1])
