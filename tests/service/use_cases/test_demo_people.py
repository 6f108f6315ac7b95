import numpy as np
import pytest

from experiments.errors import InvalidParameterError
from service.clock import to_micros
from service.use_cases.demo_data import CUTOFF, read_orders
from service.use_cases.demo_people import DAY_US, Lives, People, World, loses_purchases
from service.use_cases.unguessable import is_unguessable


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(read_orders())


def draw(world: World, *, n_people: int = 500, n_days: int = 30, seed: int = 1) -> People:
    return People.draw(world, n_people=n_people, n_days=n_days, seed=seed)


def test_the_world_holds_customers_known_at_the_cut_off_and_what_they_did_after(world: World) -> None:
    cutoff_us = to_micros(CUTOFF)

    assert len(world.customers) == 4_082
    assert all(o.occurred_us < cutoff_us and not o.refund for o in world.last_order)
    assert all(o.occurred_us >= cutoff_us for o in world.later)
    assert {o.customer_id for o in world.later} <= set(world.customers)


def test_the_same_seed_draws_the_same_people_and_another_seed_draws_others(world: World) -> None:
    one, same, other = draw(world), draw(world), draw(world, seed=2)

    assert one.ids == same.ids
    assert np.array_equal(one.arrival_us, same.arrival_us)
    assert np.array_equal(one.coin, same.coin)
    assert set(one.ids).isdisjoint(other.ids)


def test_people_have_ids_of_their_own_that_nobody_can_guess(world: World) -> None:
    people = draw(world)

    assert len(set(people.ids)) == len(people) == 500
    assert all(is_unguessable(unit_id) for unit_id in people.ids)


def test_everybody_arrives_within_the_days_and_returns_only_later(world: World) -> None:
    people = draw(world, n_days=9)

    assert people.arrival_us.min() >= 0
    assert people.arrival_us.max() < 9 * DAY_US
    returns = people.return_us >= 0
    assert 0 < returns.sum() < len(people)
    assert (people.return_us[returns] > people.arrival_us[returns]).all()
    assert (people.return_us < 9 * DAY_US).all()


def test_arrivals_do_not_depend_on_buying(world: World) -> None:
    people = draw(world, n_people=20_000)
    buyers = np.bincount(Lives.of(world, people).person, minlength=len(people)) > 0

    gap = people.arrival_us[buyers].mean() - people.arrival_us[~buyers].mean()
    error = people.arrival_us.std() * np.sqrt(1 / buyers.sum() + 1 / (~buyers).sum())
    assert abs(gap) < 3 * error


def test_a_person_lives_every_order_of_one_customer_and_no_other(world: World) -> None:
    people = draw(world, n_people=200)
    lives = Lives.of(world, people)

    for person, customer_index in enumerate(people.customer_index):
        mine = [world.later[j].order_id for j in lives.order_index[lives.person == person]]
        customer_id = world.customers[customer_index]
        assert mine == [o.order_id for o in world.later if o.customer_id == customer_id]


@pytest.mark.parametrize("lift", [0.25, 1.0, 0.05])
def test_the_planted_lift_is_the_ratio_of_what_the_variants_keep(lift: float) -> None:
    coin = np.random.default_rng(7).random(1_000_000)
    everyone = np.ones(len(coin), bool)

    in_control = loses_purchases(coin, is_control=everyone, is_treatment=~everyone, lift=lift)
    in_treatment = loses_purchases(coin, is_control=~everyone, is_treatment=everyone, lift=lift)

    assert not in_treatment.any()
    assert 1 / (1 - in_control.mean()) == pytest.approx(1 + lift, rel=0.01)


def test_without_a_lift_nobody_loses_anything_and_a_negative_one_takes_from_the_treatment() -> None:
    coin = np.random.default_rng(7).random(100_000)
    everyone = np.ones(len(coin), bool)

    assert not loses_purchases(coin, is_control=everyone, is_treatment=~everyone, lift=0.0).any()
    assert not loses_purchases(coin, is_control=everyone, is_treatment=~everyone, lift=-0.2).any()
    taken = loses_purchases(coin, is_control=~everyone, is_treatment=everyone, lift=-0.2)
    assert taken.mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("lift", [-1.0, 11.0, float("nan")])
def test_a_lift_that_cannot_be_planted_is_refused(lift: float) -> None:
    nobody = np.zeros(1, bool)

    with pytest.raises(InvalidParameterError, match="lift"):
        loses_purchases(np.zeros(1), is_control=nobody, is_treatment=nobody, lift=lift)


@pytest.mark.parametrize(("n_people", "n_days", "seed"), [(0, 30, 1), (5, 31, 1), (5, 0, 1), (5, 30, -1)])
def test_impossible_crowds_are_refused(world: World, n_people: int, n_days: int, seed: int) -> None:
    with pytest.raises(InvalidParameterError):
        People.draw(world, n_people=n_people, n_days=n_days, seed=seed)
