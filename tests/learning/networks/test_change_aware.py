"""The change-aware family: every switch changes what is compared, and only that; tissues are taught, measures read."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from ranoscope.config import AuxiliarySettings, ChangeAwareSettings, Comparison
from ranoscope.domain import Tissue
from ranoscope.learning.auxiliary import auxiliary_loss
from ranoscope.learning.measures import TISSUES
from ranoscope.learning.networks import build_network
from ranoscope.learning.networks.change_aware import Reading
from ranoscope.learning.networks.comparison import FindingsCompared, Matching, compare_tissues, tissue_width
from ranoscope.learning.networks.tissues import TissueMaps, tissue_shares

CHANNELS, CELL_MM = 5, 6.0
TEACHING = {"auxiliary": {"segmentation": 1}}


def compared(**settings) -> FindingsCompared:
    torch.manual_seed(0)
    return FindingsCompared(ChangeAwareSettings(findings=3, **settings), CHANNELS, CELL_MM)


def identity(scale: FindingsCompared) -> FindingsCompared:
    """Finding n is feature n."""
    with torch.no_grad():
        scale.evidence.findings.weight.copy_(torch.eye(3, CHANNELS)[..., None, None, None])
        scale.evidence.findings.bias.zero_()
    return scale


def spots(*places) -> torch.Tensor:
    """Features of a prior and a current study, 0 but for (study, feature, i, j, k, value)."""
    features = torch.zeros(2, CHANNELS, 8, 8, 8)
    for study, feature, i, j, k, value in places:
        features[study, feature, i, j, k] = value
    return features


@pytest.mark.parametrize(
    ("ways", "count"), [(["amount"], 2), (["growth"], 1), (["spot"], 2), (["moved"], 2), (["matched"], 2)]
)
def test_every_way_has_its_features(ways, count):
    scale = compared(comparison=ways)
    assert scale.width == count * 3
    found = scale(torch.randn(4, CHANNELS, 6, 7, 8))
    assert found.shape == (2, scale.width)
    assert found.isfinite().all()
    settings = ChangeAwareSettings(comparison=ways)
    shares = torch.rand(4, len(TISSUES), 6, 7, 8)
    assert tissue_width(settings, len(TISSUES)) == count * 2
    assert compare_tissues(shares, settings, CELL_MM).shape == (2, count * 2)


def test_all_ways_are_all_features_in_their_order():
    """Whatever the order in the recipe: a file of weights means the same."""
    scale = compared(comparison=["matched", "spot", "amount", "moved", "growth"])
    assert scale.ways == tuple(Comparison)
    assert scale.width == 9 * 3


def test_the_same_study_twice_has_neither_grown_nor_moved():
    scale = compared(comparison=["growth", "moved"])
    study = torch.randn(1, CHANNELS, 6, 6, 6)
    assert scale(torch.cat([study, study])).abs().max() < 1e-6


def test_exchanged_studies_have_the_opposite_growth_and_exchanged_moves():
    scale = compared(comparison=["growth", "moved"])
    prior, current = torch.randn(2, 1, CHANNELS, 6, 6, 6)
    growth, came, went = scale(torch.cat([prior, current])).chunk(3, dim=1)
    back, came_back, went_back = scale(torch.cat([current, prior])).chunk(3, dim=1)
    torch.testing.assert_close(growth, -back)
    torch.testing.assert_close(came, went_back)
    torch.testing.assert_close(went, came_back)


def test_a_spot_that_moves_within_the_tolerance_has_not_moved():
    features = spots((0, 0, 3, 3, 3, 1.0), (1, 0, 4, 3, 4, 1.0))
    strict, tolerant = (identity(compared(comparison=["moved"], tolerance_mm=mm)) for mm in (0.0, CELL_MM))
    assert (strict(features)[0, [0, 3]] > 0.1).all()
    assert (tolerant(features) == 0).all()
    far = spots((0, 0, 3, 3, 3, 1.0), (1, 0, 6, 3, 3, 1.0))
    assert (tolerant(far)[0, [0, 3]] > 0.1).all()


@pytest.mark.parametrize(("mm", "reach"), [(0, 0), (0.5, 1), (6, 1), (6.1, 2)])
def test_tolerance_is_whole_cells_rounded_up(mm, reach):
    assert compared(tolerance_mm=mm).reach == reach


def test_matching_finds_the_place_that_looks_alike():
    """Marks tell the spot from everything else; its evidence is brought from where it was."""
    matching = Matching(CHANNELS)
    with torch.no_grad():
        matching.marks.weight.zero_()
        matching.marks.weight[0, 0], matching.marks.weight[1, 1] = 1, 1
        matching.nearness.zero_()
    features = torch.zeros(2, CHANNELS, 8, 8, 8)
    features[:, 1] = 1
    features[0, :2, 3, 3, 3] = torch.tensor([1.0, 0.0])
    features[1, :2, 4, 4, 3] = torch.tensor([1.0, 0.0])
    evidence = features[:, :1] * 5
    with torch.no_grad():
        prior_there, current_there = matching(features, evidence[:1], evidence[1:])
    assert prior_there[0, 0, 4, 4, 3] > 1.5  # of 5, beside 26 places that do not look alike
    assert prior_there[0, 0, 4, 4, 3] > 5 * prior_there[0, 0, 2, 2, 3]
    assert current_there[0, 0, 3, 3, 3] == pytest.approx(float(prior_there[0, 0, 4, 4, 3]), rel=1e-5)


def test_what_is_shown_twice_cannot_be_compared_twice():
    with pytest.raises(ValidationError, match="compare each once"):
        ChangeAwareSettings(comparison=["amount", "amount"])


@pytest.fixture
def taught(make_recipe):
    torch.manual_seed(0)
    return build_network(make_recipe("change-aware", network={"tissues": True}, training=TEACHING)).eval()


def read(network, pairs, facts=None) -> Reading:
    seen = [scale.chunk(2) for scale in network.see(pairs.transpose(0, 1).flatten(0, 1))]
    return network.read([scale[0] for scale in seen], [scale[1] for scale in seen], facts)


def test_reading_gives_the_logits_of_a_call(taught, make_batch):
    pairs, _ = make_batch("change-aware", 3)
    reading = read(taught, pairs)
    torch.testing.assert_close(reading.logits, taught(pairs))
    assert reading.measures.shape == (3, 3)
    assert reading.tissues.shape == (6, len(TISSUES), *pairs.shape[3:])


@pytest.mark.parametrize("shape", [(17, 19, 18), (16, 18, 21)])
def test_tissues_lie_where_the_image_says(shape):
    """A bright voxel, seen by the layer at full resolution, stands out at its place; odd and even edges alike."""
    maps = TissueMaps(2, 4).eval()
    images = torch.zeros(1, 2, *shape)
    images[0, 0, 5, 7, 9] = 20
    features = torch.zeros(1, 4, *(-(-size // 2) for size in shape))
    with torch.no_grad():
        plain, bright = maps(torch.zeros_like(images), features), maps(images, features)
    moved = (bright - plain)[0].abs().sum(dim=0)
    assert moved.shape == shape
    near = moved[4:7, 6:9, 8:11]
    assert near.max() == moved.max()
    # Instance norm shifts all voxels alike; what is beyond the kernel is moved by that alone.
    assert moved[10:, 12:, 12:].std() < 0.01 * near.max()


def test_shares_of_what_is_unlikely_everywhere_are_none():
    logits = torch.tensor([-20.0, -3.0, -2.0, 0.0, 20.0])
    shares = tissue_shares(logits)
    assert shares[:2].tolist() == [0, 0]
    assert shares[2] > 0
    assert shares[3] == pytest.approx(0.45 / 0.95)
    assert shares[4] == pytest.approx(1)


def test_taught_tissues_enter_what_is_compared():
    """Twice as much, in the log of the share of the volume."""
    shares = torch.zeros(2, len(TISSUES), 8, 8, 8)
    shares[0, 0, :4, :4, :4], shares[1, 0, :4, :4] = 1, 1
    growth = compare_tissues(shares, ChangeAwareSettings(comparison=["growth"]), CELL_MM)[0]
    assert growth.tolist() == pytest.approx([math.log((0.25 + 1e-4) / (0.125 + 1e-4)), 0], rel=1e-5)
    came, went = compare_tissues(shares, ChangeAwareSettings(comparison=["matched"]), CELL_MM)[0].view(2, 2)[:, 0]
    assert came == pytest.approx(math.log1p(0.125 / 1e-4), rel=1e-5)
    assert went == 0


def test_perfect_segmentation_costs_next_to_nothing():
    tumours = torch.zeros(1, 2, 16, 16, 16, dtype=torch.uint8)
    tumours[0, 0, 4:9, 4:9, 4:9] = Tissue.EDEMA
    tumours[0, 1, 4:9, 4:9, 4:9] = Tissue.ENHANCING
    tumours[0, 1, 9:13, 4:9, 4:9] = Tissue.NECROSIS_NONENHANCING
    labels = tumours.transpose(0, 1).flatten(0, 1)
    right = torch.stack([labels == Tissue.ENHANCING, labels != 0], dim=1).float() * 40 - 20
    measures = torch.tensor([[0.3, 0.2, 1.0]])
    settings = AuxiliarySettings(segmentation=1, measures=0)

    def loss(logits):
        reading = Reading(torch.zeros(1, 4), logits, torch.zeros(1, 3))
        return float(auxiliary_loss(reading, tumours, measures, settings))

    moved = right.roll(1, dims=2)
    exchanged = right.roll(1, dims=0)
    assert loss(right) < 1e-3
    assert loss(moved) > 0.2
    assert loss(exchanged) > loss(moved)
    assert loss(-right) > 10


def test_measures_are_taught_with_their_signs():
    settings = AuxiliarySettings(segmentation=0, measures=2)
    nothing = torch.zeros(2, 2, 8, 8, 8, dtype=torch.uint8)
    measures = torch.tensor([[0.5, -0.25, 1.0], [0.0, 0.0, 0.0]])

    def loss(found):
        logits = torch.zeros(4, 2, 8, 8, 8)
        return float(auxiliary_loss(Reading(torch.zeros(2, 4), logits, found), nothing, measures, settings))

    right = torch.tensor([[0.5, -0.25, 30.0], [0.0, 0.0, -30.0]])
    assert loss(right) == pytest.approx(0, abs=1e-6)
    other = right.clone()
    other[0, 0] = -0.5
    assert loss(other) == pytest.approx(2 * 0.5 * 1.0**2 / 4)  # smooth L1 of a miss by 1, a mean over four growths
    new = right.clone()
    new[0, 2] = -30
    assert loss(new) == pytest.approx(2 * 30 / 2, rel=1e-3)


def test_every_parameter_has_a_gradient_where_masks_teach(taught, make_batch):
    """Several processes that train together wait for all of them."""
    pairs, _ = make_batch("change-aware", 2)
    network = taught.train()
    tumours = torch.zeros(2, 2, *pairs.shape[3:], dtype=torch.uint8)
    for settings in (AuxiliarySettings(segmentation=1), AuxiliarySettings(measures=1)):
        network.zero_grad()
        reading = read(network, pairs)
        (reading.logits.sum() + auxiliary_loss(reading, tumours, torch.zeros(2, 3), settings)).backward()
        assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize(
    ("network", "training"), [({"tissues": True}, {}), ({}, TEACHING), ({"name": "densenet"}, TEACHING)]
)
def test_tissues_and_masks_that_teach_them_belong_together(make_recipe, network, training):
    name = network.get("name", "change-aware")
    with pytest.raises(Exception, match=r"network\.tissues.*training\.auxiliary"):
        make_recipe(name, network=network, training=training)
