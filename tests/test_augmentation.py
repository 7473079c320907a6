"""Each transform against what it should do to an image, and the strengths of random ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from study import data
from study.augmentation import NODES, Augmentation, examples, transform


@pytest.fixture
def images(few):
    return data.to_float(few[0].images[:50])


def distorted(images, **amounts):
    count = len(images)
    settings = {
        "rotation": torch.zeros(count),
        "scale": torch.ones(count),
        "shear": torch.zeros(count),
        "shift": torch.zeros(count, 2),
    }
    for name, amount in amounts.items():
        value = torch.as_tensor(amount, dtype=torch.float)
        settings[name] = value.expand(count, *value.shape)
    return transform(images, **settings)


def centre(images):
    """Centres of mass (N, 2): right and down, in pixels from the middle."""
    place = torch.arange(28) - 13.5
    ink = images.sum((1, 2, 3))
    right, down = (images.sum((1, axis)) @ place for axis in (2, 3))
    return torch.stack([right, down], dim=1) / ink[:, None]


def test_nothing_changes_nothing(images):
    assert torch.allclose(distorted(images), images, atol=1e-5)
    assert torch.allclose(Augmentation()(images), images, atol=1e-5)


def test_varied_makes_all_amounts_of_an_image_smaller_together(images):
    strengths = {"rotation": 40, "noise": 0.3, "coarseness": 0.7}
    many = images.repeat(8, 1, 1, 1)  # 400

    def change(varied):
        torch.manual_seed(0)
        distorted = Augmentation(**strengths, varied=varied)(many)
        return (distorted - many).abs().mean((1, 2, 3))

    always, varied = change(False), change(True)
    assert varied.max() > 0.8 * always.max()
    # Nearly untouched images hardly occur otherwise.
    assert (always < 0.02).float().mean() < 0.01 < 0.03 < (varied < 0.02).float().mean()


def test_rotation_is_anticlockwise(images):
    turned = distorted(images, rotation=90.0)
    assert torch.allclose(turned, images.rot90(1, dims=(2, 3)), atol=1e-4)


def test_shift_is_right_and_down(images):
    moved = distorted(images, shift=[3.0, -2.0])
    assert torch.allclose(moved[:, :, :-2, 3:], images[:, :, 2:, :-3], atol=1e-4)
    assert moved[:, :, :, :3].abs().max() < 1e-4


def test_scale_is_a_factor_of_the_size(images):
    half = distorted(images, scale=0.5)
    assert half.sum() == pytest.approx(images.sum().item() / 4, rel=0.1)
    assert torch.allclose(centre(half), centre(images) / 2, atol=0.2)


def test_shear_leans_to_the_right():
    stroke = torch.zeros(1, 1, 28, 28)
    stroke[..., 4:24, 13:15] = 1
    leaning = distorted(stroke, shear=45.0)
    columns = (leaning[0, 0] * torch.arange(28)).sum(1) / leaning[0, 0].sum(1)
    assert columns[6] == pytest.approx(13.5 + 7.5, abs=0.2)
    assert columns[21] == pytest.approx(13.5 - 7.5, abs=0.2)


def test_all_together_turn_what_was_scaled_and_sheared(images):
    """The order that the docstring names: scale, shear, rotation, shift."""
    together = distorted(images, scale=0.8, shear=10.0, rotation=90.0, shift=[2.0, 1.0])
    one_by_one = distorted(distorted(images, scale=0.8, shear=10.0), rotation=90.0)
    one_by_one = distorted(one_by_one, shift=[2.0, 1.0])
    assert torch.allclose(together, one_by_one, atol=1e-3)


def test_elastic_field_samples_elsewhere(images):
    right = torch.zeros(2, NODES, NODES)
    right[0] = 1.0  # the same displacement everywhere is a shift to the left
    moved = distorted(images, elastic=right)
    assert torch.allclose(moved[..., :-1], images[..., 1:], atol=1e-4)
    corner = torch.zeros(2, NODES, NODES)
    corner[:, 0, 0] = 3.0
    changed = (distorted(images, elastic=corner) - images).abs() > 1e-3
    assert changed[..., :14, :14].any()
    assert not changed[..., 20:, 20:].any()


@pytest.mark.parametrize(
    "name, strength",
    [
        ("rotation", 20),
        ("scale", 0.2),
        ("shear", 20),
        ("shift", 3),
        ("elastic", 1),
        ("aspect", 0.2),
        ("thickness", 0.5),
        ("hardness", 3),
        ("paleness", 0.5),
        ("noise", 0.2),
    ],
)
def test_each_image_is_distorted_its_own_way_and_repeatably(images, name, strength):
    same = images[:1].expand(20, -1, -1, -1)
    augment = Augmentation(**{name: strength})
    torch.manual_seed(0)
    first = augment(same)
    torch.manual_seed(0)
    assert torch.equal(augment(same), first)
    assert not torch.equal(augment(same), first)
    assert len(first.flatten(1).unique(dim=0)) == 20
    assert first.shape == same.shape


def test_strength_is_the_largest_amount():
    dot = torch.zeros(2000, 1, 28, 28)
    dot[..., 13:15, 13:15] = 1
    torch.manual_seed(0)
    places = centre(Augmentation(shift=5)(dot))
    assert places.abs().max() <= 5.001
    assert places.abs().max() > 4.9
    assert places.std(0).tolist() == pytest.approx([5 / 3**0.5] * 2, rel=0.05)


@pytest.mark.parametrize(
    "name, strength",
    [
        ("rotation", -1),
        ("scale", 1),
        ("shear", 90),
        ("elastic", float("nan")),
        ("aspect", 1),
        ("thickness", 1),
        ("cutout", -2),
        ("coarseness", 1),
        ("hardness", -0.1),
        ("paleness", 1),
        ("noise", float("inf")),
    ],
)
def test_senseless_strengths_are_refused_by_name(name, strength):
    with pytest.raises(ValueError, match=f"^{name} must be at least 0"):
        Augmentation(**{name: strength})


def first_version(images, strengths):
    """Rotation, scale, shear, shift and elastic distortion as the committed models met them."""
    count = len(images)
    nodes = torch.randn(count, 2, 4, 4)
    rotation, scale, shear = (
        strengths.get(name, 0.0) * (2 * torch.rand(count) - 1)
        for name in ("rotation", "scale", "shear")
    )
    shift = strengths.get("shift", 0.0) * (2 * torch.rand(count, 2) - 1)
    sin, cos = rotation.deg2rad().sin(), rotation.deg2rad().cos()
    slant = shear.deg2rad().tan()
    inverse = torch.stack([cos + slant * sin, slant * cos - sin, sin, cos], dim=1).view(-1, 2, 2)
    inverse = inverse / (1 + scale)[:, None, None]
    offset = -inverse @ (shift * (2 / 28))[:, :, None]
    grid = F.affine_grid(torch.cat([inverse, offset], dim=2), images.shape, align_corners=False)
    if "elastic" in strengths:
        smooth = F.interpolate(
            torch.eye(4)[None, None], (28, 4), mode="bicubic", align_corners=True
        )
        field = torch.einsum(
            "yi,ncij,xj->nyxc", smooth[0, 0], strengths["elastic"] * nodes, smooth[0, 0]
        )
        grid = grid + field * (2 / 28)
    return F.grid_sample(images, grid, align_corners=False)


@pytest.mark.parametrize(
    "strengths",
    [
        {"rotation": 10, "scale": 0.1, "shear": 5, "shift": 2.8},
        {"rotation": 15, "scale": 0.15, "shear": 7.5, "shift": 4.2, "elastic": 0.5},
        {},
    ],
)
def test_older_strengths_give_the_same_images_bit_for_bit(images, strengths):
    """Else no committed model could be trained again; dropout draws after it, too."""
    torch.manual_seed(3)
    expected, following = first_version(images, strengths), torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(Augmentation(**strengths)(images), expected)
    assert torch.equal(torch.rand(1), following)


def test_new_strengths_do_not_change_the_older_ones(images):
    """What is new is drawn last, so that one strength more is one change more."""
    strengths = {"rotation": 10, "scale": 0.1, "shear": 5, "shift": 2.8}
    torch.manual_seed(3)
    before = Augmentation(**strengths)(images)
    torch.manual_seed(3)
    paler = Augmentation(**strengths, paleness=0.5)(images)
    factors = paler.sum((1, 2, 3)) / before.sum((1, 2, 3))
    assert torch.allclose(paler, factors[:, None, None, None] * before, atol=1e-5)
    assert 0.5 <= factors.min() < 0.6
    assert 0.9 < factors.max() <= 1


def test_aspect_is_height_to_width_at_the_same_area(images):
    square = torch.zeros(1, 1, 28, 28)
    square[..., 9:19, 9:19] = 1
    high = examples(square, "aspect", [1.0, 1.44])[1, 0]
    assert high.sum() == pytest.approx(100, rel=0.02)
    assert high[:, 14].sum() == pytest.approx(12, abs=0.1)
    assert high[14].sum() == pytest.approx(10 / 1.2, abs=0.2)


def test_aspect_is_as_often_wide_as_high():
    square = torch.zeros(2000, 1, 28, 28)
    square[..., 9:19, 9:19] = 1
    torch.manual_seed(0)
    images = Augmentation(aspect=0.3)(square)[:, 0]
    ratio = (images[:, :, 14].sum(1) / images[:, 14].sum(1)).log()
    assert ratio.mean() == pytest.approx(0, abs=0.02)
    assert ratio.abs().max() == pytest.approx(-torch.tensor(0.7).log().item(), abs=0.02)


def test_thickness_blends_with_the_largest_and_the_smallest_neighbour(images):
    thick, half, same, thin = examples(images[:1], "thickness", [1, 0.5, 0, -0.5])[:, 0]
    digit = images[0]
    windows = F.unfold(F.pad(digit[None], (1, 1, 1, 1)), 3)[0]
    assert torch.allclose(thick, windows.amax(0).view(28, 28), atol=1e-5)
    assert torch.allclose(same, digit[0], atol=1e-5)
    assert torch.allclose(half, (thick + digit[0]) / 2, atol=1e-5)
    thinner = (windows.amin(0).view(28, 28) + digit[0]) / 2
    assert torch.allclose(thin, thinner * digit.max() / thinner.max(), atol=1e-5)
    assert thin.sum() < 0.9 * digit.sum()


def test_cutout_leaves_a_rectangle_blank(images):
    ink = torch.ones(1, 1, 28, 28)
    assert torch.allclose(examples(ink, "cutout", [0])[0], ink[0], atol=1e-5)
    hole = examples(ink, "cutout", [6])[0, 0] == 0
    assert hole.sum() == 36
    assert hole[11:17, 11:17].all()
    torch.manual_seed(0)
    holes = Augmentation(cutout=10)(ink.expand(4000, -1, -1, -1))[:, 0] == 0
    heights, widths = holes.any(2).sum(1).float(), holes.any(1).sum(1).float()
    assert (holes.sum((1, 2)) == heights * widths).all()  # rectangles
    inside = holes[:, 13, 13]  # seldom cut by the border
    assert widths.max() <= 10
    assert widths[inside].mean() > 5 > widths.mean() > 3
    assert 0.5 < holes[:, 5, 20].float().mean() / inside.float().mean() < 2


def test_fewer_pixels_there_and_back(images):
    through = examples(images[:1], "pixels", [28, 14, 7, 1])[:, 0]
    assert torch.allclose(through[0], images[0, 0], atol=1e-5)
    blocks = F.interpolate(images[:1], (14, 14), mode="bilinear", antialias=True)
    back = F.interpolate(blocks, (28, 28), mode="bilinear")[0, 0]
    assert torch.allclose(through[1], back, atol=1e-5)
    assert through[3].std() < 1e-5
    edges = through.diff(dim=2).abs().amax((1, 2))
    assert edges[0] > edges[1] > edges[2]


def test_coarseness_is_the_part_of_the_pixels_that_is_lost(images):
    torch.manual_seed(0)
    coarse = Augmentation(coarseness=0.5)(images[:1].expand(500, -1, -1, -1))
    possible = examples(images[:1], "pixels", range(14, 29))
    nearest = (coarse - possible[:, 0]).abs().amax((2, 3)).min(1)
    assert nearest.values.max() < 1e-5
    assert set(nearest.indices.tolist()) == set(range(15))


def test_hardness_moves_grey_to_black_and_white():
    grey = torch.linspace(0, 1, 784).view(1, 1, 28, 28)
    hard = examples(grey, "hardness", [1, 4])
    assert torch.allclose(hard[0], grey[0], atol=1e-5)
    middle = (grey[0] - 0.5).abs() < 0.1
    assert torch.allclose(hard[1][middle] - 0.5, 4 * (grey[0][middle] - 0.5), atol=1e-3)
    assert (hard[1][grey[0] < 0.37] == 0).all()
    assert (hard[1][grey[0] > 0.63] == 1).all()
    pale = examples(0.3 * grey, "hardness", [4])
    assert torch.allclose(pale[0], 0.3 * hard[1], atol=1e-4)


def test_noise_stays_between_paper_and_ink(images):
    noisy = examples(images[:1], "noise", [0, 0.2])
    assert torch.allclose(noisy[0], images[0], atol=1e-5)
    assert 0 <= noisy.min() <= noisy.max() <= 1
    grey = examples(torch.full((1, 1, 28, 28), 0.5), "noise", [0.1])[..., 1:-1, 1:-1]
    assert grey.std() == pytest.approx(0.1, rel=0.1)
    torch.manual_seed(0)
    middle = Augmentation(noise=0.1)(torch.full((500, 1, 28, 28), 0.5))[..., 2:-2, 2:-2]
    deviations = middle.flatten(1).std(1)
    assert 0 <= deviations.min() < 0.01
    assert deviations.mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(
    "name, amounts",
    [
        ("rotation", [0, 20]),
        ("scale", [1, 0.5]),
        ("shift", [0, 4]),
        ("elastic", [0, 2]),
        ("aspect", [1, 0.6]),
        ("ink", [1, 0.4]),
    ],
)
def test_examples_begin_with_the_image_and_change_it(images, name, amounts):
    shown = examples(images[:1], name, amounts)
    assert shown.shape == (2, 1, 28, 28)
    assert torch.allclose(shown[0], images[0], atol=1e-5)
    assert (shown[1] - shown[0]).abs().max() > 0.2
    assert torch.equal(examples(images[:1], name, amounts), shown)
    if name == "shift":
        assert torch.allclose(shown[1, 0, :, 4:], images[0, 0, :, :-4], atol=1e-4)
