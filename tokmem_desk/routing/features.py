"""Routing features: from hidden states of one forward pass to a space where like messages lie together.

Raw features are means over the message of a few layers, once with rare tokens counting for more and once with all
alike, and last states. Each block is standardised and scaled to unit length, then projected to at most 512 dimensions
in which the covariance *within* groups of like messages is the identity. All of this is fitted once per backbone, on
text that ships with the program (``background``), so it depends on no user and on no order of arrival. The calibration
of probabilities is fitted on the same text, on groups that the projection it uses has not seen.

Letters: n texts, f raw features, k projected dimensions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk import background
from tokmem_desk.backbone.fingerprint import digest_of
from tokmem_desk.errors import BadInputError, first_line
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.routing.fit_parts import FitParts
from tokmem_desk.routing.none_calibration import Calibration, fit_calibration, fitting_numbers
from tokmem_desk.system.threads import one_thread

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

DIMENSIONS = 512
_DEPTHS = (0.03, 0.13, 0.23, 0.33, 0.43, 0.67)
"""Layers whose mean over the message is used, as shares of the depth."""
_LAST_DEPTHS = (0.33, 0.67)
"""Layers whose last state is used too. Low layers tell the words, later ones the intent, last states the
form of the task; measured on intents and on personal procedures, see docs/research/routing.md."""
_SHRINKAGE = 0.3
"""Weight of a multiple of the identity in the within-group covariance."""
_CLIP = 6.0
_CHAT_FOR_COVARIANCE = 400
COMMON_SHARE = 1e-3
"""Share of all tokens at which a token counts half in a mean over a message; see ``rare_token_weights``. Chosen on the
half of CLINC150's intents that chooses: 3e-4 to 1e-2 were tried."""
_UNSEEN = 0.5
"""Added to each token's count."""
_VERSION = 5
_FITTED_WITH_BEFORE = (
    "c5d6986bd55efe4a128fcb26caa03f829694da638a3786dce2e30c86b78cffd2",
    "2fa5f46964c28b97a6505cb7bad998290fc3ddbc3cc090075b810c9caea3473f",
)
"""``space_settings`` and ``calibration_settings`` of files from before they stood in the file."""

_TENSORS = {"centre": "centre", "std": "spread", "offset": "offset", "projection": "projection", "chat": "chat"}
"""Fields of a basis that are tensors, with their names in its file."""


@dataclass(frozen=True, slots=True)
class FeatureLayers:
    """Indices into the stack of hidden states (0 is the embedding).

    Attributes:
        means: layers whose mean over the message is used.
        lasts: layers whose last state is used.
        final: whether the state after the last layer is used too, as in spaces that were fitted before. It tells
            nothing that the others do not, and without it a fit runs two thirds of the layers.
        plain: whether the means in which all tokens count alike are used too. Rare tokens tell the subject; signs and
            small words, which are common, tell one form from another.
    """

    means: tuple[int, ...]
    lasts: tuple[int, ...]
    final: bool = False
    plain: bool = False

    @classmethod
    def of(cls, layer_count: int) -> FeatureLayers:
        """The layers used in a backbone of that depth."""
        means, lasts = (
            tuple(sorted({max(1, round(depth * layer_count)) for depth in depths}))
            for depths in (_DEPTHS, _LAST_DEPTHS)
        )
        return cls(means, lasts, plain=True)

    @property
    def pooled(self) -> tuple[int, ...]:
        """All layers that a prefill must pool."""
        return tuple(sorted({*self.means, *self.lasts}))

    def select(self, pooled: Tensor, hidden_size: int) -> Tensor:
        """[n x f] raw features out of what ``Backbone.prefill`` pooled for ``self.pooled``."""
        blocks = pooled.unflatten(1, (-1, hidden_size))
        of_means, of_lasts = ([3 * self.pooled.index(layer) for layer in some] for some in (self.means, self.lasts))
        wanted = [0] if self.final else []
        wanted += [1 + place for place in of_means] + [2 + place for place in of_lasts]
        wanted += [3 + place for place in of_means] if self.plain else []
        return blocks[:, wanted].flatten(1).float()

    @property
    def blocks(self) -> int:
        """How many vectors of the hidden size raw features are."""
        return self.final + len(self.means) * (1 + self.plain) + len(self.lasts)


@dataclass(frozen=True)
class RouterBasis:
    """The fitted feature space of one backbone.

    Attributes:
        layers: which hidden states are used.
        centre, std: [f] float32, mean and standard deviation of raw features.
        offset: [f] float32, mean of the standardised, unit-length blocks.
        projection: [f x k] float32.
        chat: [c x k] float32 unit vectors of ordinary chat.
        calibration: turns similarities into probabilities.
        fingerprint: digest of the backbone it was fitted on.
        taught: says by which texts a sentence encoder has taught it, see ``basis_from_features``; empty where none has.
        token_weights: [v] float32, how much each token of the vocabulary counts in the means that it was fitted to, see
            ``Backbone.token_weights``; None where all count alike.
    """

    layers: FeatureLayers
    centre: Tensor
    std: Tensor
    offset: Tensor
    projection: Tensor
    chat: Tensor
    calibration: Calibration
    fingerprint: str
    taught: str = ""
    token_weights: Tensor | None = None

    def project(self, pooled: Tensor, hidden_size: int) -> Tensor:
        """[n x k] float32 unit vectors.

        Args:
            pooled: [n x any] float32 features as ``Backbone.prefill`` gives them.
        """
        blocks = _standardise(self.layers.select(pooled, hidden_size), self.centre, self.std, hidden_size)
        return _unit((blocks - self.offset) @ self.projection)

    def fits(self, hidden_size: int) -> bool:
        """Whether its parts have the sizes that they have after fitting, and every standard deviation is above zero."""
        f = self.layers.blocks * hidden_size
        k = self.projection.shape[-1]
        shapes = [tuple(getattr(self, name).shape) for name in _TENSORS]
        return shapes == [(f,), (f,), (f,), (f, k), (self.chat.shape[0], k)] and bool((self.std > 0).all())

    def to(self, device: torch.device) -> RouterBasis:
        """The same basis on another device."""
        moved = {name: getattr(self, name).to(device) for name in _TENSORS}
        if self.token_weights is not None:
            moved["token_weights"] = self.token_weights.to(device)
        return replace(self, **moved)

    @cached_property
    def digest(self) -> str:
        """Digest of this fit; statistics of another digest cannot be compared with these."""
        return digest_of(self.recipe, self.centre, self.std, self.offset, self.projection)

    @property
    def recipe(self) -> str:
        """SHA-256 of the configuration. Spaces of one recipe differ by a rotation, which anchors tell (bank files)."""
        return recipe_of(self.layers, self.fingerprint, self.taught)

    @property
    def is_whole(self) -> bool:
        """Whether it was fitted to all texts, as those that ship and those of before are, or to half of the groups."""
        return bool(self.taught) or self.layers.final

    def calibrated_as(self, other: RouterBasis) -> RouterBasis:
        """This space, and so whatever was measured in it, with the calibration of another fit."""
        return replace(self, calibration=other.calibration)

    def to_bytes(self, dtype: torch.dtype = torch.float32) -> bytes:
        """The file. The projection and the chat, which are most of it, stand there as ``dtype``."""
        tensors = {stored: getattr(self, name) for name, stored in _TENSORS.items()}
        tensors |= {name: tensors[name].to(dtype) for name in ("projection", "chat")}
        if self.token_weights is not None:
            tensors["token_weights"] = self.token_weights.half()
        metadata = {
            "format": "tokmem-router",
            "version": str(_VERSION),
            "digest": self.recipe,
            "means": json.dumps(self.layers.means),
            "lasts": json.dumps(self.layers.lasts),
            "final": json.dumps(self.layers.final),
            "plain": json.dumps(self.layers.plain),
            "calibration": json.dumps(self.calibration.as_dict()),
            "space_settings": space_settings(whole=self.is_whole),
            "calibration_settings": calibration_settings(),
            "fingerprint": self.fingerprint,
            **({"taught": self.taught} if self.taught else {}),
        }
        return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> RouterBasis:
        """Read a basis back.

        Raises:
            BadInputError: damaged, of another version or another backbone; fit a new one.
            OldCalibrationError: the space is good, and its calibration was fitted with other numbers.
        """
        try:
            metadata = read_metadata(data)
            space, calibration = (
                metadata.get(key, older)
                for key, older in zip(("space_settings", "calibration_settings"), _FITTED_WITH_BEFORE, strict=True)
            )
            calibrated = calibration == calibration_settings()
            tensors = {k: v.to(backbone.torch_device, torch.float32) for k, v in load(data).items()}
            basis = cls(
                FeatureLayers(
                    tuple(json.loads(metadata["means"])),
                    tuple(json.loads(metadata["lasts"])),
                    bool(json.loads(metadata.get("final", "true"))),
                    bool(json.loads(metadata.get("plain", "false"))),
                ),
                tensors["centre"],
                tensors["spread"],
                tensors["offset"],
                tensors["projection"],
                tensors["chat"],
                # An old calibration may have another number of weights; it is not used.
                Calibration.from_dict(json.loads(metadata["calibration"])) if calibrated else Calibration(1.0, ()),
                metadata["fingerprint"],
                metadata.get("taught", ""),
                tensors.get("token_weights"),
            )
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise BadInputError(f"The stored router is damaged ({first_line(error)}).") from error
        if basis.fingerprint != backbone.fingerprint.digest or metadata.get("digest") != basis.recipe:
            raise BadInputError("The stored router belongs to another model or version.")
        if not all(bool(torch.isfinite(getattr(basis, name)).all()) for name in _TENSORS):
            raise BadInputError("The stored router holds values that are not finite.")
        if not basis.fits(backbone.hidden_size):
            raise BadInputError("The stored router is damaged: the sizes of its parts do not fit each other.")
        if space != space_settings(whole=basis.is_whole):
            raise BadInputError("The stored router was fitted to other texts, or with other numbers.")
        if not calibrated:
            raise OldCalibrationError(basis)
        return basis


def recipe_of(layers: FeatureLayers, fingerprint: str, taught: str = "") -> str:
    """The recipe of a basis before it is fitted; see ``RouterBasis.recipe``.

    Args:
        fingerprint: digest of the backbone.
        taught: see ``RouterBasis``.
    """
    parts = [_VERSION, layers.means, layers.lasts, fingerprint, DIMENSIONS, _SHRINKAGE]
    # What was added later says something only where it is not as before: older recipes stay what they are.
    later = [taught] * bool(taught) + ["no final state"] * (not layers.final) + ["plain means"] * layers.plain
    head = json.dumps(parts + later)
    return hashlib.sha256(head.encode()).hexdigest()


class OldCalibrationError(BadInputError):
    """A stored router whose space is good; probabilities in it have to be fitted anew.

    Args:
        basis: as it was stored, without a calibration.
    """

    def __init__(self, basis: RouterBasis) -> None:
        super().__init__("The stored router's probabilities were fitted with other numbers.")
        self.basis = basis


def space_settings(*, whole: bool) -> str:
    """SHA-256 over the texts and numbers that a space is fitted with, whatever the backbone.

    Args:
        whole: see ``RouterBasis.is_whole``.
    """
    numbers = [_VERSION, _DEPTHS, _LAST_DEPTHS, DIMENSIONS, _SHRINKAGE, _CLIP, _CHAT_FOR_COVARIANCE]
    chat = background.chat_for_fitting()
    if whole:
        return _digest([numbers, background.groups(), chat])
    return _digest([numbers, COMMON_SHARE, half_of_groups(), chat])


def half_of_groups() -> dict[str, list[str]]:
    """Half of the shipped groups, of either kind that cross-fitting parts.

    With means that count rare tokens for more, a space fitted to them tells messages apart as well as one fitted to
    all (docs/research/routing.md). Of the chat nothing is left out: its messages are the anchors by which two fits are
    told to be one space, and a turn in 512 dimensions needs as many of them.
    """
    return {name: texts for number, (name, texts) in enumerate(background.groups().items()) if number % 4 < 2}


def calibration_settings() -> str:
    """SHA-256 over the numbers that a calibration is fitted with, beside those of ``space_settings``."""
    return _digest(fitting_numbers())


def _digest(settings: list[object]) -> str:
    return hashlib.sha256(json.dumps(settings, ensure_ascii=False).encode()).hexdigest()


def fit_basis(backbone: Backbone, *, folder: Path | None = None) -> Iterator[float | RouterBasis]:
    """Fit the feature space of a backbone; yields the share done, and at the end the basis.

    Takes one pass of two thirds of the layers over some 1,500 short texts.

    Args:
        folder: keeps what is done until the end, for a fit that goes on after a kill; None keeps nothing.
    """
    layers = FeatureLayers.of(backbone.layer_count)
    grouped, chat = half_of_groups(), background.chat_for_fitting()
    texts = [text for members in grouped.values() for text in members] + chat
    owner = torch.tensor([g for g, members in enumerate(grouped.values()) for _ in members])
    weights = rare_token_weights(backbone, texts)
    queries = [backbone.format.query(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: len(queries[i]))
    head = f"{recipe_of(layers, backbone.fingerprint.digest)} {space_settings(whole=False)} {len(texts)}"
    parts = FitParts(folder, head)

    def features(part: list[list[int]]) -> list[Tensor]:
        # Between two parts others run the model: it has these weights while a part runs and no longer.
        before, backbone.token_weights = backbone.token_weights, weights
        try:
            done = backbone.prefill(part, keep_states=False, feature_layers=layers.pooled, lower_layers=True)
        finally:
            backbone.token_weights = before
        assert done.pooled is not None
        return [layers.select(done.pooled, backbone.hidden_size).cpu()]

    pooled: list[Tensor] = []
    for start in range(0, len(order), 64):
        part = [queries[i] for i in order[start : start + 64]]
        pooled += parts.of(start // 64, partial(features, part))
        yield min(1.0, (start + len(part)) / len(order))
    raw = torch.empty(len(texts), pooled[0].shape[1])
    raw[torch.tensor(order)] = torch.cat(pooled)
    basis = basis_from_features(raw, owner, layers, backbone.hidden_size, backbone.fingerprint.digest)
    parts.drop()
    yield replace(basis, token_weights=weights).to(backbone.torch_device)


def rare_token_weights(backbone: Backbone, texts: Sequence[str]) -> Tensor:
    """[v] float32 weight of each token of the vocabulary: near 1 for those that are rare in texts, low for common ones.

    Smooth inverse frequency (Arora et al. 2017). Rounded to what float16 holds, which is what is stored.
    """
    counts = torch.zeros(backbone.vocabulary_size)
    for text in texts:
        counts += torch.bincount(torch.tensor(backbone.format.encode_text(text)), minlength=len(counts))
    share = (counts + _UNSEEN) / counts.sum()
    return (COMMON_SHARE / (COMMON_SHARE + share)).half().float()


def basis_from_features(
    raw: Tensor,
    owner: Tensor,
    layers: FeatureLayers,
    hidden_size: int,
    fingerprint: str,
    taught: Tensor | None = None,
) -> RouterBasis:
    """Fit projection and calibration.

    Args:
        raw: [n x f] features of the grouped texts, in order, followed by those of chat.
        owner: [g] long, the group of each grouped text.
        taught: [f x e] directions in the space of ``standardised`` that are to weigh more, by their length: the
            projection is fitted as if the message's components along them were one more block of features. None
            fits without any.
    """
    grouped = owner.shape[0]
    reference = torch.arange(min(raw.shape[0], grouped + _CHAT_FOR_COVARIANCE))
    centre, std = raw[reference].mean(dim=0), raw[reference].std(dim=0) + 1e-4
    blocks = _standardise(raw, centre, std, hidden_size)
    offset = blocks[reference].mean(dim=0)
    centred = blocks - offset
    if taught is not None:
        centred = torch.cat([centred, centred @ taught], dim=1)
    # Cross-fitting: each half of the groups is calibrated in a space made from the other half, as a
    # user's procedures will be in a space that has never seen them.
    directions = _principal_directions(centred[reference])
    examples = []
    for half in (0, 1):
        inside = owner % 2 == half
        space = _whitening(directions, centred[:grouped][inside], owner[inside])
        outside = ~inside
        examples.append((_unit(centred[:grouped][outside] @ space), owner[outside], _unit(centred[grouped:] @ space)))
    projection = _whitening(directions, centred[:grouped], owner)
    with one_thread():
        calibration = fit_calibration(examples)
    chat = _unit(centred[grouped:] @ projection)
    if taught is not None:
        # What was a block of its own is linear in the others, so the projection has the size that it had.
        projection = projection[: len(taught)] + taught @ projection[len(taught) :]
    return RouterBasis(layers, centre, std, offset, projection, chat, calibration, fingerprint)


def standardised(raw: Tensor, basis: RouterBasis, hidden_size: int) -> Tensor:
    """[n x f] raw features as they are before the projection of a basis, their mean taken off."""
    return _standardise(raw, basis.centre, basis.std, hidden_size) - basis.offset


def _standardise(raw: Tensor, centre: Tensor, std: Tensor, hidden_size: int) -> Tensor:
    """Standardise every feature, then scale each layer's block to unit length: no layer outweighs another."""
    scaled = ((raw - centre) / std).clamp(-_CLIP, _CLIP)
    return _unit(scaled.unflatten(1, (-1, hidden_size))).flatten(1)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _principal_directions(reference: Tensor) -> Tensor:
    """[f x k] unit vectors along which [n x f] centred features vary most."""
    # By way of the [n x n] Gram matrix, which is smaller than [f x f].
    variances, left = torch.linalg.eigh(reference @ reference.T)
    variances, left = variances.flip(0), left.flip(1)
    k = min(DIMENSIONS, int((variances > 1e-8 * variances[0]).sum()))
    return reference.T @ (left[:, :k] / variances[:k].sqrt())


def _whitening(basis: Tensor, grouped: Tensor, owner: Tensor) -> Tensor:
    """[f x k]: directions turned and scaled so that the covariance within groups is one.

    Args:
        basis: [f x k] see ``_principal_directions``.
        grouped: [n x f] centred features.
        owner: [n] long, the group of each row.
    """
    k = basis.shape[1]
    inside = grouped @ basis
    ids, position = owner.unique(return_inverse=True)
    means = torch.zeros(len(ids), k).index_add_(0, position, inside) / position.bincount()[:, None]
    residual = inside - means[position]
    within = residual.T @ residual / max(1, residual.shape[0] - len(ids))
    ridge = torch.eye(k) * within.diagonal().mean()
    values, vectors = torch.linalg.eigh((1 - _SHRINKAGE) * within + _SHRINKAGE * ridge)
    return basis @ (vectors / values.clamp_min(1e-12).sqrt())
