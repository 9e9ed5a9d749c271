"""Make a chat model that fits into a test: ``python tiny_model.py FOLDER``.

What it says makes no sense: its weights are random, though always the same. How it is loaded, asked and
served is as with any other. It speaks whole words, one a token, and never ends by itself: what ends an
answer is what the test asked for.
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
    """Save tokenizer, weights and settings into ``folder``, as a download would leave them there."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    set_seed(0)
    model = LlamaForCausalLM(_config(tokenizer))
    model.generation_config = _generation_config(tokenizer)
    model.save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that takes any text, byte by byte where it has to, and has a token for each word."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Room for every merge there is, so that each word becomes one token.
    room = len(alphabet) + len(WORDS)
    trainer = trainers.BpeTrainer(
        vocab_size=room, initial_alphabet=alphabet, special_tokens=[BEGIN, END], show_progress=False
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
    """Sample, as chat models do, for without it a temperature means nothing; and say words only."""
    words = set(tokenizer.encode(WORDS))
    silent = [token for token in range(len(tokenizer)) if token not in words]
    return GenerationConfig(do_sample=True, bos_token_id=tokenizer.bos_token_id, suppress_tokens=silent)


if __name__ == "__main__":
    main(sys.argv[1])
