import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from data_prep import mix

HEIGHT, WIDTH = 12, 20
PRESENT = (1, 1, 0, 1, 1, 1, 0, 1)


def batch_of(present=PRESENT):
    """A batch of random images, zeros where there is none, and one class for each row."""
    count = len(present)
    images = np.random.default_rng(0).uniform(0, 255, (count, HEIGHT, WIDTH, 3))
    images *= np.reshape(present, (-1, 1, 1, 1))
    x = {
        "images": tf.constant(images, tf.float32),
        "images_present": tf.constant(present, tf.int32),
    }
    return x, tf.eye(count)


def mixes(name, count, x, y, **options):
    """The mixed batches for the seeds (0, 0), (0, 1), ... as `(images, y)` in numpy."""
    dataset = tf.data.Dataset.from_tensor_slices(tf.range(count))
    dataset = dataset.map(lambda seed: mix.MIXES[name](x, y, tf.stack([0, seed]), **options))
    return [(x["images"], y) for x, y in dataset.as_numpy_iterator()]


def partners_and_share(y):
    """Who was mixed with whom, and the share of the own label, as the mixed labels tell."""
    own = np.diag(y)
    others = np.where(own == 1, np.arange(len(y)), np.argmax(y * (1 - np.eye(len(y))), axis=1))
    (share,) = np.unique(own[own < 1]) if (own < 1).any() else (np.float32(1),)
    return others, share


def test_mixup_is_the_formula_of_the_paper():
    x, y = batch_of()
    before = x["images"].numpy()
    shares = []
    for images, labels in mixes("mixup", 60, x, y, alpha=1.0):
        partners, share = partners_and_share(labels)
        shares.append(share)
        expected = share * before + (1 - share) * before[partners]
        np.testing.assert_allclose(images, expected, atol=1e-3)
        expected = share * np.eye(8) + (1 - share) * np.eye(8)[partners]
        np.testing.assert_allclose(labels, expected, atol=1e-6)
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_cutmix_pastes_one_box_and_mixes_the_labels_by_its_area():
    x, y = batch_of()
    before = x["images"].numpy()
    touched, shares = np.zeros((HEIGHT, WIDTH), bool), []
    for images, labels in mixes("cutmix", 60, x, y):
        partners, share = partners_and_share(labels)
        is_pasted = (images != before).any(axis=(0, 3))
        touched |= is_pasted
        shares.append(share)
        np.testing.assert_array_equal(
            images, np.where(is_pasted[..., None], before[partners], before)
        )
        assert share == pytest.approx(1 - is_pasted.mean(), abs=1e-6)
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
        if is_pasted.any():
            (top, left), (bottom, right) = (
                function(np.argwhere(is_pasted), axis=0) for function in (np.min, np.max)
            )
            assert is_pasted[top : bottom + 1, left : right + 1].all()
    assert touched.all()
    assert min(shares) < 0.4
    assert max(shares) > 0.95


def test_the_box_of_cutmix_has_the_drawn_area_unless_the_border_cuts_it():
    x, y = batch_of()
    # The same seed and alpha draw the same lambda, which the labels of mixup show.
    drawn = [partners_and_share(y)[1] for _, y in mixes("mixup", 60, x, y, alpha=1.0)]
    whole = 0
    for (images, _), share in zip(mixes("cutmix", 60, x, y, alpha=1.0), drawn, strict=True):
        is_pasted = (images != x["images"].numpy()).any(axis=(0, 3))
        rows, columns = is_pasted.any(1), is_pasted.any(0)
        box = np.floor(np.sqrt(1 - share) * np.array([HEIGHT, WIDTH]))
        size = np.array([rows.sum(), columns.sum()])
        assert (size <= box).all()
        if not (rows[0] or rows[-1] or columns[0] or columns[-1]) and size.all():
            assert (size == box).all()
            whole += 1
    assert whole > 5


@pytest.mark.parametrize("name", mix.MIXES)
def test_rows_without_an_image_stay_and_are_nobodys_partner(name):
    x, y = batch_of()
    absent = np.array(PRESENT) == 0
    seen = set()
    for images, labels in mixes(name, 40, x, y):
        np.testing.assert_array_equal(images[absent], x["images"].numpy()[absent])
        np.testing.assert_array_equal(labels[absent], y.numpy()[absent])
        assert (labels[~absent][:, absent] == 0).all()
        np.testing.assert_allclose(labels.sum(0), 1, atol=1e-6)  # a permutation
        seen.update(partners_and_share(labels)[0][~absent] - np.arange(8)[~absent])
    assert len(seen) > 8  # all kinds of pairs


@pytest.mark.parametrize("name", mix.MIXES)
@pytest.mark.parametrize("present", [(1,), (0,), (0, 1, 0), (0, 0)])
def test_a_batch_with_no_one_to_mix_with_stays_bit_by_bit(name, present):
    x, y = batch_of(present)
    for images, labels in mixes(name, 4, x, y):
        np.testing.assert_array_equal(images, x["images"])
        np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_is_beta_distributed(alpha):
    x = {"images": tf.zeros((8, 1, 1, 3)), "images_present": tf.ones(8, tf.int32)}
    batches = mixes("mixup", 400, x, tf.eye(8), alpha=alpha)
    shares = [partners_and_share(y)[1] for _, y in batches]
    assert abs(np.mean(shares) - 0.5) < 3 * np.sqrt(1 / (4 * (2 * alpha + 1)) / 400)
    test = scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf)
    assert test.pvalue > 0.01


def test_the_defaults_are_those_of_the_papers():
    x, y = batch_of()
    for name, alpha in (("mixup", 0.2), ("cutmix", 1.0)):
        default, explicit = mixes(name, 5, x, y), mixes(name, 5, x, y, alpha=alpha)
        for (_, first), (_, second) in zip(default, explicit, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", mix.MIXES)
def test_a_mix_is_bit_equal_eagerly_and_mapped(name):
    x, y = batch_of()
    outputs = set()
    for seed, (images, labels) in enumerate(mixes(name, 12, x, y)):
        mixed, eager_labels = mix.MIXES[name](x, y, (0, seed))
        assert sorted(mixed) == ["images", "images_present"]
        np.testing.assert_array_equal(mixed["images"], images)
        np.testing.assert_array_equal(mixed["images_present"], PRESENT)
        np.testing.assert_array_equal(eager_labels, labels)
        outputs.add(images.tobytes())
    assert len(outputs) == 12


@pytest.mark.parametrize("name", mix.MIXES)
def test_a_mix_keeps_what_is_known_of_shapes_and_dtypes(name):
    x, y = batch_of()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
    mixed = dataset.map(lambda x, y: mix.MIXES[name](x, y, (0, 1)))
    assert mixed.element_spec == dataset.element_spec
    assert [len(labels) for _, labels in mixed.as_numpy_iterator()] == [3, 3, 2]


@pytest.mark.parametrize("name", mix.MIXES)
def test_other_modalities_are_refused(name):
    x, y = batch_of()
    message = (
        r"`images` and `images_present` alone.*Received: images, images_present, token_ids\. Fix"
    )
    with pytest.raises(ValueError, match=message):
        mix.MIXES[name]({**x, "token_ids": tf.zeros((8, 4), tf.int32)}, y, (0, 0))
    with pytest.raises(ValueError, match=r"Received: images_present\. Fix"):
        mix.MIXES[name]({"images_present": x["images_present"]}, y, (0, 0))


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan")])
def test_alpha_must_be_positive(alpha):
    x, y = batch_of()
    with pytest.raises(ValueError, match=f"`alpha` must be positive. Received: alpha={alpha}"):
        mix.mixup(x, y, (0, 0), alpha=alpha)
