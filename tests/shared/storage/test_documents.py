"""The contract of the document store, held against both implementations, and against the one that simulated worlds stand on."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from shared.errors import DocumentChangedError, DocumentExistsError, DocumentMissingError
from shared.storage.documents import MOST_WRITES, Documents, Scalar, Value, Write
from tests.shared.storage.looking import ids, outcomes, read
from tests.support import stores

NAIVE = datetime(2026, 11, 21, 12)  # noqa: DTZ001 - naive on purpose
NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


documents = stores.documents
pytestmark = pytest.mark.parametrize("documents", ["memory", "sqlite", "firestore"], indirect=True)


class TestReadingAndCreating:
    def test_a_document_that_was_never_made_is_none(self, documents: Documents) -> None:
        assert documents.get("tenants", "acme") is None

    def test_what_was_created_is_read_back(self, documents: Documents) -> None:
        fields: dict[str, Value] = {
            "name": "Zoë 東京 🎁\x00\n\"\\'",
            "count": -(2**63),
            "ratio": 1.0,
            "on": True,
            "nothing": None,
            "at": NOON,
            "map": {"list": [1, {"deep": [NOON]}, []], "none": {}},
        }
        documents.create("tenants", "acme", fields)
        document = read(documents, "tenants", "acme")
        assert (document.id, document.fields) == ("acme", fields)
        assert isinstance(document.fields["ratio"], float)
        assert document.fields["on"] is True

    def test_a_document_may_be_empty(self, documents: Documents) -> None:
        documents.create("tenants", "acme", {})
        assert read(documents, "tenants", "acme").fields == {}

    def test_a_document_is_created_once(self, documents: Documents) -> None:
        documents.create("claims", "a", {"by": 1})
        with pytest.raises(DocumentExistsError):
            documents.create("claims", "a", {"by": 2})
        assert read(documents, "claims", "a").fields == {"by": 1}

    @pytest.mark.parametrize("round", range(3))
    def test_of_sixteen_creators_at_once_exactly_one_wins(self, documents: Documents, round: int) -> None:
        results = outcomes(16, lambda number: documents.create("claims", f"c{round}", {"by": number}))
        assert sorted(results) == ["DocumentExistsError"] * 15 + ["won"]
        assert read(documents, "claims", f"c{round}").fields == {"by": results.index("won")}

    def test_lists_in_lists_and_keys_like_our_own_tags_come_back_as_they_were(
        self, documents: Documents
    ) -> None:
        fields: dict[str, Value] = {
            "rule": {"in": [{"var": "x"}, ["a", ["b"], []]]},
            "$list": [{"$list": [1]}, {"$$list": [[2]]}],
            "$datetime": {"$datetime": "2026-11-21T00:00:00+00:00", "$$datetime": NOON},
            "$email": {"$email": "x"},
        }
        documents.create("tenants", "acme", fields)
        documents.update("tenants", "acme", {"$list": [[{"$list": "y"}]]})
        assert read(documents, "tenants", "acme").fields == fields | {"$list": [[{"$list": "y"}]]}
        assert ids(documents.find("tenants", where={"$list": None})) == []


class TestDatetimes:
    def test_they_come_back_in_utc_to_the_microsecond_as_plain_datetimes(self, documents: Documents) -> None:
        sydney = NOON.astimezone(timezone(timedelta(hours=11)))
        documents.create("a", "b", {"at": sydney, "list": [sydney], "map": {"at": sydney}})
        fields = read(documents, "a", "b").fields
        for value in (fields["at"], *as_list(fields["list"]), *as_map(fields["map"]).values()):
            assert type(value) is datetime
            assert (value, value.tzinfo, value.microsecond) == (NOON, UTC, 123456)

    @pytest.mark.parametrize("fields", [{"at": NAIVE}, {"map": {"list": [NAIVE]}}])
    def test_naive_ones_are_refused(self, documents: Documents, fields: dict[str, Value]) -> None:
        documents.create("a", "there", {"x": 1})
        with pytest.raises(ValueError, match="aware"):
            documents.create("a", "b", fields)
        with pytest.raises(ValueError, match="aware"):
            documents.update("a", "there", fields)
        assert documents.get("a", "b") is None

    def test_a_naive_one_is_refused_in_a_search(self, documents: Documents) -> None:
        with pytest.raises(ValueError, match="aware"):
            documents.find("a", where={"at": NAIVE})


class TestUpdating:
    def test_named_fields_are_replaced_whole_and_others_stay(self, documents: Documents) -> None:
        documents.create("a", "b", {"map": {"old": 1, "both": 1}, "list": [1, 2], "kept": {"x": NOON}})
        documents.update("a", "b", {"map": {"both": 2, "new": {}}, "list": [], "added": None})
        assert read(documents, "a", "b").fields == {
            "map": {"both": 2, "new": {}},
            "list": [],
            "kept": {"x": NOON},
            "added": None,
        }

    @pytest.mark.parametrize(
        "name", ["a.b", "a..b", ".", "a`b", "a\\", "\\`", "a b", "0", "a/b[*]~", "é", "$x", '"']
    )
    def test_a_field_of_any_name_is_one_field(self, documents: Documents, name: str) -> None:
        documents.create("c", "d", {"a": {"b": 1}, name: {name: 1}})
        documents.update("c", "d", {name: {name: "x"}})
        assert read(documents, "c", "d").fields == {"a": {"b": 1}, name: {name: "x"}}
        documents.update("c", "d", {name: "x"})
        assert ids(documents.find("c", where={name: "x"})) == ["d"]

    def test_a_missing_document_is_not_made(self, documents: Documents) -> None:
        with pytest.raises(DocumentMissingError):
            documents.update("a", "b", {"x": 1})
        assert documents.get("a", "b") is None

    def test_an_update_without_a_field_is_refused(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        with pytest.raises(ValueError, match="at least one field"):
            documents.update("a", "b", {})

    def test_the_version_that_was_read_may_be_updated(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        documents.update("a", "b", {"x": 2}, version=read(documents, "a", "b").version)
        assert read(documents, "a", "b").fields == {"x": 2}

    def test_a_version_that_has_passed_may_not(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        stale = read(documents, "a", "b").version
        documents.update("a", "b", {"x": 2})
        with pytest.raises(DocumentChangedError):
            documents.update("a", "b", {"x": 3}, version=stale)
        assert read(documents, "a", "b").fields == {"x": 2}

    def test_an_update_that_changes_nothing_keeps_the_version(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": {"y": NOON}})
        before = read(documents, "a", "b").version
        documents.update("a", "b", {"x": {"y": NOON}})
        assert read(documents, "a", "b").version == before

    def test_a_search_gives_versions_too(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        [found] = documents.find("a")
        documents.update("a", "b", {"x": 2}, version=found.version)
        with pytest.raises(DocumentChangedError):
            documents.update("a", "b", {"x": 3}, version=found.version)

    def test_of_two_updaters_of_one_version_in_turn_one_wins(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 0})
        version = read(documents, "a", "b").version
        results = outcomes(2, lambda number: documents.update("a", "b", {"x": number + 1}, version=version))
        assert sorted(results) == ["DocumentChangedError", "won"]

    def test_a_document_that_has_gone_or_was_made_again_has_changed(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        version = read(documents, "a", "b").version
        documents.delete("a", "b")
        with pytest.raises(DocumentChangedError):
            documents.update("a", "b", {"x": 2}, version=version)
        documents.create("a", "b", {"x": 1})
        with pytest.raises(DocumentChangedError):
            documents.update("a", "b", {"x": 2}, version=version)


class TestDeleting:
    def test_it_removes_and_may_be_repeated(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        documents.delete("a", "b")
        documents.delete("a", "b")
        assert documents.get("a", "b") is None
        assert documents.find("a") == []

    def test_a_version_that_has_passed_may_not_be_deleted(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        stale = read(documents, "a", "b").version
        documents.update("a", "b", {"x": 2})
        with pytest.raises(DocumentChangedError):
            documents.delete("a", "b", version=stale)
        assert read(documents, "a", "b").fields == {"x": 2}

    def test_the_version_that_was_read_may_be_deleted_once(self, documents: Documents) -> None:
        documents.create("a", "b", {"x": 1})
        version = read(documents, "a", "b").version
        documents.delete("a", "b", version=version)
        with pytest.raises(DocumentChangedError):
            documents.delete("a", "b", version=version)
        assert documents.get("a", "b") is None

    def test_documents_in_collections_below_stay(self, documents: Documents) -> None:
        documents.create("tenants", "acme", {})
        documents.create("tenants/acme/jobs", "j", {"x": 1})
        documents.delete("tenants", "acme")
        assert read(documents, "tenants/acme/jobs", "j").fields == {"x": 1}


class TestWritingSeveral:
    def test_all_are_written_and_deleted_whatever_was_there(self, documents: Documents) -> None:
        documents.create("c", "there", {"a": 1, "b": 2})
        documents.create("c", "gone", {})
        new: dict[str, Value] = {"at": NOON, "map": {"list": [1, [2]]}}
        documents.write_all(
            [
                Write("c", "there", {"a": 2}),
                Write("c/d/e", "new", new),
                Write("c", "gone"),
                Write("c", "never"),
            ]
        )
        assert {found.id: found.fields for found in documents.find("c")} == {"there": {"a": 2}}
        assert read(documents, "c/d/e", "new").fields == new

    def test_one_that_cannot_be_stored_keeps_all_from_being_written(self, documents: Documents) -> None:
        documents.create("c", "a", {})
        wrong: list[Value] = ["x" * 1_048_577, 2**63]
        for value in wrong:
            with pytest.raises(ValueError, match=r"."):
                documents.write_all([Write("c", "a"), Write("c", "b", {"v": value})])
        assert ids(documents.find("c")) == ["a"]

    def test_a_version_that_was_read_before_has_passed(self, documents: Documents) -> None:
        documents.create("c", "a", {"n": 1})
        before = read(documents, "c", "a")
        documents.write_all([Write("c", "a", {"n": 2})])
        with pytest.raises(DocumentChangedError):
            documents.update("c", "a", {"n": 3}, version=before.version)
        assert read(documents, "c", "a").fields == {"n": 2}

    def test_no_more_are_taken_than_a_call_may_hold_and_no_document_twice(self, documents: Documents) -> None:
        many = [Write("c", f"{number:03}", {"n": number}) for number in range(MOST_WRITES)]
        documents.write_all(many)
        assert documents.count("c") == MOST_WRITES
        documents.write_all([Write("c", write.id) for write in many])
        documents.write_all([])
        assert documents.count("c") == 0
        with pytest.raises(ValueError, match="at most"):
            documents.write_all([*many, Write("c", "more", {})])
        with pytest.raises(ValueError, match="once"):
            documents.write_all([Write("c", "a", {}), Write("c", "a")])
        with pytest.raises(ValueError, match="document id"):
            documents.write_all([Write("c", "a/b/c", {})])
        assert documents.count("c") == 0


class TestFinding:
    @pytest.fixture
    def values(self, documents: Documents) -> Documents:
        kept: dict[str, dict[str, Value]] = {
            "absent": {"w": 1},
            "date": {"v": NOON},
            "empty": {"v": ""},
            "false": {"v": False},
            "list": {"v": ["yes"]},
            "map": {"v": {"v": "yes"}},
            "null": {"v": None},
            "one": {"v": 1},
            "one-float": {"v": 1.0},
            "one-text": {"v": "1"},
            "true": {"v": True},
            "yes": {"v": "yes"},
            "zero": {"v": 0},
        }
        for id, fields in kept.items():
            documents.create("c", id, fields)
        return documents

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ("yes", ["yes"]),
            ("ye", []),
            ("", ["empty"]),
            (1, ["one", "one-float"]),
            (1.0, ["one", "one-float"]),
            (0, ["zero"]),
            (True, ["true"]),
            (False, ["false"]),
            (None, ["null"]),
            (NOON, ["date"]),
            (NOON.astimezone(timezone(timedelta(hours=-5))), ["date"]),
            (NOON + timedelta(microseconds=1), []),
        ],
    )
    def test_a_field_equals_a_value_of_its_own_kind(
        self, values: Documents, wanted: Scalar, expected: list[str]
    ) -> None:
        assert ids(values.find("c", where={"v": wanted})) == expected

    def test_all_conditions_must_hold(self, documents: Documents) -> None:
        documents.create("c", "a", {"kind": "x", "open": True, "n": 1})
        documents.create("c", "b", {"kind": "x", "open": False, "n": 1})
        documents.create("c", "c", {"kind": "y", "open": True, "n": 1})
        [found] = documents.find("c", where={"kind": "x", "open": True, "n": 1})
        assert (found.id, found.fields) == ("a", {"kind": "x", "open": True, "n": 1})

    def test_pages_follow_the_order_of_ids(self, documents: Documents) -> None:
        everything = sorted(["10", "9", "B", "_", "a", "a-b", "a_b", "aa", "é", "🎁"], key=str.encode)
        for number, id in enumerate(reversed(everything)):
            documents.create("c", id, {"even": number % 2 == 0})
        pages = [documents.find("c", limit=4)]
        while len(pages[-1]) == 4:
            pages.append(documents.find("c", after=pages[-1][-1].id, limit=4))
        assert [ids(page) for page in pages] == [everything[:4], everything[4:8], everything[8:]]
        assert (
            ids(documents.find("c", where={"even": True}, after=everything[1], limit=2)) == everything[3:6:2]
        )

    def test_a_page_begins_after_an_id_that_has_gone(self, documents: Documents) -> None:
        documents.create("c", "a", {})
        documents.create("c", "c", {})
        assert ids(documents.find("c", after="b")) == ["c"]
        assert documents.find("c", after="c") == []

    def test_a_limit_of_none_at_all_finds_nothing_and_a_negative_one_is_refused(
        self, documents: Documents
    ) -> None:
        documents.create("c", "a", {})
        assert documents.find("c", limit=0) == []
        with pytest.raises(ValueError, match="limit"):
            documents.find("c", limit=-1)

    def test_a_hundred_are_found_unless_told_otherwise(self, documents: Documents) -> None:
        for number in range(101):
            documents.create("c", f"{number:03}", {})
        assert ids(documents.find("c")) == [f"{number:03}" for number in range(100)]

    def test_a_count_is_of_one_collection_and_knows_no_page(self, documents: Documents) -> None:
        assert documents.count("tenants/acme/jobs") == 0
        documents.create("tenants", "acme", {})
        for number in range(101):
            documents.create("tenants/acme/jobs", f"{number:03}", {})
        documents.create("tenants/acme-2/jobs", "000", {})
        documents.create("tenants/acme/jobs/000/tries", "1", {})
        assert documents.count("tenants/acme/jobs") == 101
        assert documents.count("tenants") == 1
        assert documents.count("jobs") == 0
        documents.delete("tenants/acme/jobs", "007")
        assert documents.count("tenants/acme/jobs") == 100
        with pytest.raises(ValueError, match="collection path"):
            documents.count("tenants/acme")

    def test_a_count_may_be_of_what_a_search_would_find(self, documents: Documents) -> None:
        for number in range(101):
            documents.create("c", f"{number:03}", {"even": number % 2 == 0, "third": number % 3})
        documents.create("c", "bare", {})
        assert documents.count("c", where={"even": True}) == 51
        assert documents.count("c", where={"even": True, "third": 0}) == 17
        assert documents.count("c", where={"third": None}) == 0
        assert documents.count("c", where={}) == 102
        assert documents.count("d", where={"even": True}) == 0

    def test_a_collection_ends_where_the_next_tenant_begins(self, documents: Documents) -> None:
        for tenant in ("acme", "acme-2", "beta"):
            documents.create("tenants", tenant, {"name": tenant})
            documents.create(f"tenants/{tenant}/jobs", "j", {"of": tenant})
        assert [found.fields for found in documents.find("tenants/acme/jobs")] == [{"of": "acme"}]
        assert ids(documents.find("tenants")) == ["acme", "acme-2", "beta"]
        documents.delete("tenants/acme/jobs", "j")
        assert documents.find("tenants/acme/jobs") == []
        assert read(documents, "tenants/beta/jobs", "j").fields == {"of": "beta"}
        assert documents.find("jobs") == []


class TestWhatCannotBeStored:
    @pytest.mark.parametrize(
        ("collection", "id"),
        [
            ("tenants/acme", "x"),
            ("", "x"),
            ("tenants//jobs", "x"),
            ("tenants/../jobs", "x"),
            ("/tenants/a", "x"),
            ("tenants", ""),
            ("tenants", "."),
            ("tenants", "acme/jobs/j"),
            ("tenants", "__x__"),
            ("tenants", "x" * 1501),
            ("tenants", "\ud800"),
        ],
    )
    def test_a_path_that_names_nothing_or_something_else_is_refused(
        self, documents: Documents, collection: str, id: str
    ) -> None:
        for call in (
            lambda: documents.get(collection, id),
            lambda: documents.create(collection, id, {}),
            lambda: documents.update(collection, id, {"x": 1}),
            lambda: documents.delete(collection, id),
            lambda: documents.find(collection, after=id),
        ):
            with pytest.raises(ValueError, match=r"collection path|document id|surrogates"):
                call()

    @pytest.mark.parametrize(
        "value",
        [
            2**63,
            float("nan"),
            float("-inf"),
            {"": 1},
            {"__x__": 1},
            {"x" * 1501: 1},
            "\ud800",
            "x" * 1_048_577,
        ],
        ids=["int", "nan", "infinite", "no-name", "reserved", "long-name", "surrogate", "large"],
    )
    def test_a_value_that_firestore_would_refuse_is_refused(self, documents: Documents, value: Value) -> None:
        documents.create("c", "there", {})
        with pytest.raises(ValueError, match=r".") as refused:
            documents.create("c", "d", {"v": value})
        with pytest.raises(ValueError, match=r"."):
            documents.update("c", "there", {"v": value})
        assert "x" * 100 not in str(refused.value)
        assert ids(documents.find("c")) == ["there"]

    @pytest.mark.parametrize("name", ["a\r", "\n", "\x00", "", "__x__"])
    def test_a_document_names_its_own_fields_printably(self, documents: Documents, name: str) -> None:
        documents.create("c", "there", {"map": {"\r": "\r"}})
        for call in (
            lambda: documents.create("c", "d", {name: 1}),
            lambda: documents.update("c", "there", {name: 1}),
            lambda: documents.find("c", where={name: 1}),
        ):
            with pytest.raises(ValueError, match="name of a field"):
                call()
        assert [found.fields for found in documents.find("c")] == [{"map": {"\r": "\r"}}]

    def test_a_document_may_grow_to_a_mebibyte_and_no_further(self, documents: Documents) -> None:
        documents.create("c", "d", {"a": "x" * 600_000})
        with pytest.raises(ValueError, match="1 MiB"):
            documents.update("c", "d", {"b": "x" * 600_000})
        assert list(read(documents, "c", "d").fields) == ["a"]

    def test_a_value_of_a_foreign_type_is_refused(self, documents: Documents) -> None:
        smuggled: dict[str, Value] = {"v": b"bytes"}  # type: ignore[dict-item] # the type checker refuses it as well
        with pytest.raises(TypeError, match="bytes"):
            documents.create("c", "d", smuggled)

    def test_nesting_ends_at_twenty(self, documents: Documents) -> None:
        documents.create("c", "d", nested(maps=20))
        assert read(documents, "c", "d").fields == nested(maps=20)
        with pytest.raises(ValueError, match="20 deep"):
            documents.create("c", "e", nested(maps=21))
        lists: Value = []
        for _ in range(9):
            lists = [lists]
        documents.create("c", "f", {"v": lists})
        assert read(documents, "c", "f").fields == {"v": lists}
        with pytest.raises(ValueError, match="20 deep"):
            documents.create("c", "g", {"v": [lists]})


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: not (name.startswith("__") and name.endswith("__"))
) | st.sampled_from(["$list", "$$list", "$datetime", "a.b", "`", "\\"])
OWN_NAMES = NAMES.filter(str.isprintable)
SCALARS: SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)
VALUES: SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
IDS = st.text("ABCxyz019_-", min_size=1, max_size=30).filter(
    lambda id: not (id.startswith("__") and id.endswith("__"))
)


class TestRoundTrip:
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        derandomize=True,
        database=None,
    )
    @given(
        id=IDS,
        first=st.dictionaries(OWN_NAMES, VALUES, max_size=4),
        second=st.dictionaries(OWN_NAMES, VALUES, min_size=1),
    )
    def test_what_goes_in_comes_out(
        self, documents: Documents, id: str, first: dict[str, Value], second: dict[str, Value]
    ) -> None:
        documents.delete("tenants/acme/things", id)
        documents.create("tenants/acme/things", id, first)
        assert same(read(documents, "tenants/acme/things", id).fields, first)
        documents.update("tenants/acme/things", id, second)
        assert same(read(documents, "tenants/acme/things", id).fields, first | second)


def nested(maps: int) -> dict[str, Value]:
    fields: dict[str, Value] = {"leaf": 1}
    for _ in range(maps - 1):
        fields = {"map": fields}
    return fields


def as_list(value: Value) -> list[Value]:
    assert isinstance(value, list)
    return value


def as_map(value: Value) -> dict[str, Value]:
    assert isinstance(value, dict)
    return value


def same(one: Value, other: Value) -> bool:
    """Equality that tells True from 1 and 1 from 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other
