"""The registry of encoders.

The option `--encoder` accepts these names:

    NAME            encoder whose weights are part of a Python package, for example efficientnet-lite2
    NAME:SOURCE     encoder whose weights are in SOURCE, for example clip-image:FOLDER. SOURCE is a folder or
                    OWNER/NAME@REVISION on the Hugging Face Hub. For ImageBind and LanguageBind, SOURCE is the folder
                    that `convert` wrote.

Other packages register their encoders in Python code, or through an entry point in pyproject.toml:

    @encoders.register("letters")
    @encoder_factory(cites=("@misc{letters, ...}",))          # optional
    def letters(source, device): ...

    [project.entry-points."omnidistill.encoders"]
    letters = "my_package:letters"

Importing this module loads neither torch nor an encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from omnidistill.core.errors import InputError
from omnidistill.core.registry import Registry

if TYPE_CHECKING:
    from omnidistill.encoding.encoders.encoder import Encoder

Source = Literal["required", "none", "optional"]

_TOWERS = "omnidistill.encoding.encoders"
_BUILTIN: Mapping[str, str] = {
    **{f"efficientnet-lite{size}": f"{_TOWERS}.efficientnet" for size in (0, 1, 2)},
    **{f"frames-efficientnet-lite{size}": f"{_TOWERS}.video_towers" for size in (0, 1, 2)},
    "minilm-l6": f"{_TOWERS}.text_towers",
    "e5-small": f"{_TOWERS}.e5",
    "whisper-base": f"{_TOWERS}.whisper",
    "whisper-tiny-en": f"{_TOWERS}.whisper",
    "clip-image": f"{_TOWERS}.image_towers",
    "clip-text": f"{_TOWERS}.text_towers",
    "frames-clip": f"{_TOWERS}.video_towers",
    "siglip-image": f"{_TOWERS}.image_towers",
    "siglip-text": f"{_TOWERS}.text_towers",
    "frames-siglip": f"{_TOWERS}.video_towers",
    "clap-audio": f"{_TOWERS}.audio_towers",
    "clap-text": f"{_TOWERS}.text_towers",
    "pe-av-audio": f"{_TOWERS}.audio_towers",
    "pe-av-video": f"{_TOWERS}.video_towers",
    "pe-av-text": f"{_TOWERS}.text_towers",
    "whisper-audio": f"{_TOWERS}.speech_towers",
    "sentence": f"{_TOWERS}.text_towers",
    **{f"imagebind-{kind}": f"{_TOWERS}.bind" for kind in ("image", "video", "audio", "text")},
    **{f"languagebind-{kind}": f"{_TOWERS}.bind" for kind in ("image", "video", "audio", "text")},
}


class EncoderBuilder(Protocol):
    """A function or class that creates an encoder; an entry of the registry `encoders`. See also `EncoderFactory`."""

    def __call__(self, source: str | None, device: str) -> Encoder:
        """Create the encoder.

        Args:
            source: text after the colon in `--encoder NAME:SOURCE`; None if there is no colon.
            device: device for the weights, such as "cpu" or "cuda:1".

        Raises:
            InputError: the encoder cannot use the source.
        """


class EncoderFactory:
    """A function that creates an encoder, and facts about the encoder that are known in advance.

    Decorate the function with `encoder_factory` to create an instance.

    Attributes:
        source: "required", "none" or "optional"; states whether :SOURCE must, must not or may follow the name.
        licence: licence of the weights, as one line of text; None if it depends on the source.
        cites: the works to cite, as keys of `citations/works.bib` or complete BibTeX entries.
        aliases: other names of the model, in lower case with hyphens, such as "all-minilm". The command `cite` uses
            them: if the encoder name in a feature file starts with an alias, `cite` lists the works in `cites`.
    """

    def __init__(
        self,
        build: Callable[[Any, str], Encoder],
        source: Source = "optional",
        licence: str | None = None,
        cites: tuple[str, ...] = (),
        aliases: tuple[str, ...] = (),
    ) -> None:
        functools.update_wrapper(self, build)
        self._build = build
        self.source: Source = source
        self.licence: str | None = licence
        self.cites: tuple[str, ...] = cites
        self.aliases: tuple[str, ...] = aliases

    def __call__(self, source: str | None, device: str) -> Encoder:
        """Create the encoder; see `EncoderBuilder`."""
        return self._build(source, device)


def encoder_factory(
    source: Source = "optional",
    licence: str | None = None,
    cites: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Callable[[Callable[[Any, str], Encoder]], EncoderFactory]:
    """Return a decorator that turns a function `(source, device) -> Encoder` into an `EncoderFactory`.

    Args:
        source, licence, cites, aliases: attributes of the `EncoderFactory`.
    """
    return lambda build: EncoderFactory(build, source, licence, cites, aliases)


encoders: Registry[EncoderBuilder] = Registry("encoder", _BUILTIN, group="omnidistill.encoders")
"""Encoders by name."""


def encoder_names() -> list[str]:
    """Return the sorted names of all encoders. Names that require a source end in `:SOURCE`.

    This function imports the built-in encoders. Use `encoders.names()` to list the names without importing them.
    """
    required = {name for name in _BUILTIN if getattr(encoders.get(name), "source", None) == "required"}
    return sorted(f"{name}:SOURCE" if name in required else name for name in encoders.names())


def open_encoder(reference: str, device: str = "cpu") -> Encoder:
    """Create the encoder NAME or NAME:SOURCE. The encoder loads its weights when they are first needed.

    Args:
        reference: name of the encoder, with its source if it needs one.
        device: device for the weights.

    Raises:
        InputError: the name is unknown (the message suggests the most similar name); the source is missing or cannot
            be used; a source is given, but the encoder takes none; or an encoder from another package cannot be loaded.
    """
    from omnidistill.encoding.encoders.encoder import Encoder

    name, _, source = reference.partition(":")
    package = encoders.package(name)
    where = f"encoder '{name}'" + (f" from package '{package}'" if package else "")
    build = encoders.get(name)
    needed = getattr(build, "source", "optional")
    if needed == "required" and not source:
        raise InputError(
            f"{where}: the source of the weights is missing; use {name}:FOLDER or {name}:OWNER/NAME@REVISION"
        )
    if needed == "none" and source:
        raise InputError(f"{where}: the weights come with a Python package, so omit ':{source}'")
    try:
        encoder = build(source or None, device)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:
        if package is None:
            raise
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{where}: cannot be opened ({why}); update or reinstall the package") from error
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{where}: the registered function returned a {type(encoder).__name__}, but must return an Encoder"
        )
    return encoder


def encoder_works() -> dict[str, tuple[str, ...]]:
    """Return {name or alias of an encoder: the works that the encoder is based on}.

    The works are keys of `citations/works.bib` or complete BibTeX entries. The result omits encoders that cite no
    works, and encoders from other packages that cannot be loaded.
    """
    works: dict[str, tuple[str, ...]] = {}
    for name in encoders.names():
        try:
            entry = encoders.get(name)
        except InputError:
            if name in _BUILTIN:
                raise
            continue
        if cites := tuple(getattr(entry, "cites", ())):
            works |= dict.fromkeys((name, *getattr(entry, "aliases", ())), cites)
    return works
