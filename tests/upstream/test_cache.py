"""A cache gives AMAGO what Metamon's own data set gives, tensor for tensor."""

from __future__ import annotations

import random
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import gin
import pytest
import torch
from amago.loading import Batch, MixtureOfDatasets, RLData_pad_collate, RLDataset
from metamon import interface
from metamon.data import MetamonDataset
from metamon.interface import TokenizedObservationSpace
from metamon.rl.metamon_to_amago import MetamonAMAGODataset
from metamon.rl.pretrained import Minikazam
from metamon.tokenizer import get_tokenizer
from torch.utils.data import DataLoader

from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.source import difference, open_cache
from metamon_ext.data.cache.verify import verify
from metamon_ext.data.trajectory import read_trajectory, trajectory_files, write_trajectory
from metamon_ext.errors import UserError
from metamon_ext.upstream.cached_dataset import CachedDataset, cached_dataset
from metamon_ext.upstream.catalog import released_models
from metamon_ext.upstream.featurizer import MetamonFeaturizer
from metamon_ext.upstream.finetune import make_dataset
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.register import register_spaces, registered_name
from metamon_ext.upstream.training_data import describe_data
from tests.support.flags import parse_config
from tests.upstream.helpers import copy_battles

register_spaces()
TOKENIZER = "DefaultObservationSpace-v1"
NAMES = ("TeamPreviewObservationSpace", "DefaultShapedReward", TOKENIZER, "DefaultActionSpace")
SPACES = sorted(interface.ALL_OBSERVATION_SPACES.keys() - {"PatchPokeAgentTeraBug"})
"""All but the one that takes another space."""


@pytest.fixture(scope="module")
def battles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded battles of every format, one with choices that were not revealed."""
    root = copy_battles(tmp_path_factory.mktemp("cache"))
    file = next(trajectory_files(root / "gen9ou"))
    trajectory = read_trajectory(file)
    actions = [-1 if i % 3 == 0 else action for i, action in enumerate(trajectory.actions)]
    write_trajectory(file.parent, trajectory.name, trajectory.states, [*actions[:-1], -1])
    return root


@pytest.fixture(scope="module")
def cache(battles: Path) -> Path:
    folder = battles.with_name("battles.mmap")
    build(battles, folder, MetamonFeaturizer.named(*NAMES))
    return folder


def metamons(battles: Path, cached: CachedDataset, *names: str) -> MetamonAMAGODataset:
    """Metamon's data set, with its files in the order of the cache."""
    obs_space, reward, tokenizer, action_space = names
    dataset = MetamonDataset(
        dset_root=str(battles),
        observation_space=TokenizedObservationSpace(
            interface.get_observation_space(obs_space), get_tokenizer(tokenizer)
        ),
        action_space=interface.get_action_space(action_space),
        reward_function=interface.get_reward_function(reward),
        formats=[folder.name for folder in battles.iterdir() if folder.is_dir()],
    )
    order = [str(cached.cache.path(i)) for i in cached.chosen]
    assert set(order) <= set(dataset.filenames)
    dataset.filenames = order
    return MetamonAMAGODataset(dataset, dset_name=cached.dset_name)


def assert_same(a: Batch, b: Batch) -> None:
    assert a.obs.keys() == b.obs.keys()
    pairs = [(a.obs[key], b.obs[key]) for key in b.obs]
    names = ("rl2s", "rews", "dones", "actions", "time_idxs")
    pairs += [(getattr(a, name), getattr(b, name)) for name in names]
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def batches(dataset: RLDataset, workers: int = 0, context: str | None = None) -> list[Batch]:
    dataset.configure(24, max_seq_len=16, padded_sampling="none", has_edit_rights=False)
    random.seed(5)
    torch.manual_seed(5)
    loader = DataLoader(
        dataset,
        batch_size=6,
        collate_fn=RLData_pad_collate,
        num_workers=workers,
        multiprocessing_context=context,
    )
    return list(loader)


@pytest.mark.parametrize("obs_space", SPACES)
def test_every_observation_space_comes_out_as_metamon_has_it(
    battles: Path, tmp_path: Path, obs_space: str
) -> None:
    names = (obs_space, "AggressiveShapedReward", TOKENIZER, "MinimalActionSpace")
    if obs_space == "DefaultObservationSpace":  # words that a vocabulary does not know are -1
        names = (obs_space, "PotentialShapedReward", "DefaultObservationSpace-v0", names[3])
    report = build(battles, tmp_path / "c.mmap", MetamonFeaturizer.named(*names))
    assert report.set_aside == {}
    cached = CachedDataset(str(tmp_path / "c.mmap"))
    theirs = metamons(battles, cached, *names)
    for i, filename in enumerate(theirs.parsed_replay_dset.filenames):
        content = theirs.parsed_replay_dset.load_filename(filename)
        wanted = RLData_pad_collate([theirs._process_data(content)])
        assert_same(RLData_pad_collate([cached.trajectory(i)]), wanted)


@pytest.mark.parametrize("reward", sorted(interface.ALL_REWARD_FUNCTIONS))
def test_every_reward_comes_out_as_metamon_has_it(battles: Path, reward: str) -> None:
    featurizer = MetamonFeaturizer.named(NAMES[0], reward)
    for file in trajectory_files(battles):
        trajectory = read_trajectory(file)
        rows = featurizer.rows(file, trajectory)
        assert difference(featurizer.restore(rows), featurizer.reference(file)) == ""
        assert trajectory == read_trajectory(file)  # what was read is still what it was


def test_the_same_batches_as_without_the_cache(battles: Path, cache: Path) -> None:
    ours = CachedDataset(str(cache))
    theirs = metamons(battles, ours, *NAMES)
    for mine, yours in zip(batches(ours), batches(theirs), strict=True):
        assert_same(mine, yours)
    missing = torch.cat([batch.obs["missing_action_mask"].flatten() for batch in batches(ours)])
    assert (missing == 1).any() and (missing == 0).any()


def test_archives_come_out_as_metamon_reads_them(battles: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for folder in (path for path in battles.iterdir() if path.is_dir()):
        with tarfile.open(packed / f"{folder.name}.tar", "w") as archive:
            archive.add(folder, folder.name)
    featurizer = MetamonFeaturizer.named(*NAMES)
    build(packed, tmp_path / "c.mmap", featurizer)
    assert verify(tmp_path / "c.mmap", featurizer, every=1).faults == []
    ours = CachedDataset(str(tmp_path / "c.mmap"))
    formats = [path.stem for path in packed.glob("*.tar")]
    theirs = MetamonAMAGODataset(MetamonDataset(str(packed), *featurizer.spaces, formats=formats))
    reading = theirs.parsed_replay_dset
    assert len(reading.filenames) == len(ours.chosen) >= 12
    for i in ours.chosen:
        archive, _, member = ours.cache.name(i).partition(".tar//")
        content = reading.load_filename(f"tar://{archive}/{member}")
        wanted = RLData_pad_collate([theirs._process_data(content)])
        assert_same(RLData_pad_collate([ours.trajectory(i)]), wanted)


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_in_workers_of_a_data_loader(
    battles: Path, cache: Path, context: str, workers: int
) -> None:
    ours = CachedDataset(str(cache))
    assert ours.trajectory(0)  # the files are mapped before a fork
    mine = batches(ours, workers, context)
    yours = batches(metamons(battles, ours, *NAMES), workers, "fork")
    for one, other in zip(mine, yours, strict=True):
        assert_same(one, other)


def test_verify_compares_with_metamon_and_names_a_difference(cache: Path, tmp_path: Path) -> None:
    featurizer = MetamonFeaturizer.of_cache(cache)
    report = verify(cache, featurizer, every=1)
    assert report.faults == [] and report.compared == report.trajectories >= 12
    wrong = Path(shutil.copytree(cache, tmp_path / "wrong.mmap"))
    rewards = wrong / "rows.bin"
    data = bytearray(rewards.read_bytes())
    place = featurizer.row.fields["rewards"][1]
    data[place + 3] ^= 0x80  # the sign of the first reward
    data[place] ^= 1
    rewards.write_bytes(data)
    assert verify(wrong, featurizer).faults[0].endswith("corrupt rows")


def test_a_file_that_metamon_cannot_observe_is_set_aside(battles: Path, tmp_path: Path) -> None:
    file = next(trajectory_files(battles / "gen1ou"))
    trajectory = read_trajectory(file)
    for state in trajectory.states:
        for move in state["player_active_pokemon"]["moves"]:
            move["max_pp"] = 0
    write_trajectory(
        tmp_path / "d" / "gen1ou", trajectory.name, trajectory.states, trajectory.actions
    )
    shutil.copy(list(trajectory_files(battles / "gen1ou"))[1], tmp_path / "d" / "gen1ou")
    report = build(tmp_path / "d", tmp_path / "c.mmap", MetamonFeaturizer.named(*NAMES))
    assert (report.trajectories, report.set_aside) == (1, {"unobservable": 1})


@pytest.mark.parametrize("obs_space", SPACES)
def test_a_space_that_has_seen_battles_is_still_the_same(battles: Path, obs_space: str) -> None:
    used = MetamonFeaturizer.named(obs_space, *NAMES[1:])
    before = used.definition
    space, *others = used.spaces
    trajectory = read_trajectory(next(trajectory_files(battles / "gen4ou")))
    for state in trajectory.states:
        space.state_to_obs(interface.UniversalState.from_dict(state))
    assert MetamonFeaturizer(space, *others).definition == before


def test_a_learner_that_expects_something_else_is_refused(cache: Path) -> None:
    space = interface.get_observation_space(NAMES[0])
    tokens, actions = get_tokenizer(TOKENIZER), interface.DefaultActionSpace()
    other = get_tokenizer("allreplays-v3")
    other.name = TOKENIZER  # the words count, not the name
    reward, margin = interface.DefaultShapedReward(), interface.BinaryReward()
    for spaces, what in [
        ((TokenizedObservationSpace(space, other), actions, reward), "words"),
        ((TokenizedObservationSpace(space, tokens), actions, margin), "reward_function"),
        (
            (TokenizedObservationSpace(space, tokens), interface.MinimalActionSpace(), reward),
            "action_space",
        ),
    ]:
        with pytest.raises(UserError, match=f"was built with {what}"):
            cached_dataset([str(cache)], None, *spaces)


def test_caches_are_mixed_by_weight_and_filtered(cache: Path) -> None:
    mixed = cached_dataset(
        [f"{cache}?formats=gen1ou&wins_losses_both=wins", f"{cache}?formats=gen9ou"],
        [3, 1],
        TokenizedObservationSpace(
            interface.get_observation_space(NAMES[0]), get_tokenizer(NAMES[2])
        ),
        interface.DefaultActionSpace(),
        interface.DefaultShapedReward(),
    )
    assert isinstance(mixed, MixtureOfDatasets)
    assert mixed.sampling_weights == [0.75, 0.25]
    first, second = mixed.all_datasets
    formats, index = first.cache.header.formats, first.cache.index
    assert {formats[one] for one in index["format"][list(first.chosen)]} == {"gen1ou"}
    assert index["won"][list(first.chosen)].all()
    assert {formats[one] for one in index["format"][list(second.chosen)]} == {"gen9ou"}
    random.seed(0)
    drawn = Counter(random.choice(first.chosen) for _ in range(300))
    assert drawn.keys() == set(first.chosen)


@pytest.mark.parametrize("weights", [[1.0, 2.0], [-1.0], [0.0], [float("nan")]])
def test_weights_that_do_not_fit_are_refused(cache: Path, weights: list[float]) -> None:
    spaces = MetamonFeaturizer.of_cache(cache).spaces
    with pytest.raises(UserError, match="one each, not negative"):
        cached_dataset([str(cache)], weights, *spaces)


class TestFinetune:
    """`metamon-ext finetune --cached`."""

    def config(self, *more: object) -> FinetuneConfig:
        words = ["--finetune_from_model", "Minikazam", "--run_name", "r", "--save_dir", "d"]
        return parse_config(*words, *map(str, more))

    def test_the_caches_take_the_place_of_files(self, cache: Path, battles: Path) -> None:
        model = Minikazam()
        space, reward = model.observation_space.base_obs_space, model.reward_function
        names = (
            registered_name(interface.ALL_OBSERVATION_SPACES, space),
            registered_name(interface.ALL_REWARD_FUNCTIONS, reward),
            model.tokenizer.name,
            registered_name(interface.ALL_ACTION_SPACES, model.action_space),
        )
        folder = cache.with_name("minikazam.mmap")
        build(battles, folder, MetamonFeaturizer.named(*names))
        dataset = make_dataset(self.config("--cached", folder), model, reward)
        wanted = metamons(battles, dataset, *names)
        for ours, theirs in zip(batches(dataset), batches(wanted), strict=True):
            assert_same(ours, theirs)
        with pytest.raises(UserError, match="was built with"):
            make_dataset(self.config("--cached", cache), model, reward)

    def test_a_cache_for_another_model_is_refused_before_metamon_is_loaded(
        self, cache: Path
    ) -> None:
        parts = released_models()["Minikazam"].parts
        with pytest.raises(UserError, match=r"was built for the observation_space .*cache build"):
            describe_data(self.config("--cached", cache), parts)

    def test_flags_that_would_be_ignored_are_refused(self, cache: Path) -> None:
        config = self.config("--cached", cache, "--formats", "gen1ou")
        with pytest.raises(UserError, match="--cached and --formats exclude each other"):
            describe_data(config, {})


def test_by_name_in_a_gin_file(cache: Path) -> None:
    gin.clear_config()
    gin.parse_config(f"metamon_ext.CachedDataset.cache = '{cache}?formats=gen4ou'")
    dataset = CachedDataset()
    gin.clear_config()
    assert 0 < len(dataset.chosen) < len(dataset.cache)


def test_the_reward_is_the_one_that_a_gin_file_sets(battles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c.mmap"
    names = (NAMES[0], "PotentialShapedReward")
    build(battles, folder, MetamonFeaturizer.named(*names, gin_file=str(gin_file(tmp_path, 3.0))))
    featurizer = MetamonFeaturizer.of_cache(folder)
    assert featurizer.spaces[2].material == 3.0
    assert verify(folder, featurizer, every=1).faults == []
    other = MetamonFeaturizer.named(*names, gin_file=str(gin_file(tmp_path, 4.0)))
    with pytest.raises(UserError, match=r"reward\.settings\.material 3\.0, not 4\.0"):
        open_cache(folder, other)


def gin_file(folder: Path, material: float) -> Path:
    path = folder / "reward.gin"
    path.write_text(f"PotentialShapedReward.material = {material}\n")
    return path
