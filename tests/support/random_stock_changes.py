"""Changes as chance wants them, from few names, so that they meet: repeats, tombstones, late sells, other contents."""

from hypothesis import strategies as st

from inventory_srv.domain.changes import AdjustStock, Change, Reback, Sell, SetStock
from inventory_srv.domain.records import Line

_skus = st.sampled_from(["tea", "tea", "mug", "pot"])
_order_sns = st.sampled_from(["o1", "o2", "o3", "o4", "o5"])
_request_ids = st.sampled_from([f"r{n}" for n in range(10)])
_lines = st.lists(st.builds(Line, _skus, st.integers(1, 3)), min_size=1, max_size=3).map(tuple)
_sells = st.builds(Sell, _order_sns, _lines)
_expected_versions = st.sampled_from([None, None, None, 0, 1, 2])

_stocked_up = st.builds(
    lambda tea, mug: [SetStock("tea", "tea", tea, "new"), SetStock("mug", "mug", mug, "new")],
    st.integers(3, 12),
    st.integers(0, 12),
)
_changes: st.SearchStrategy[Change] = st.one_of(
    _sells,
    _sells,
    st.builds(Reback, _order_sns, st.sampled_from(["create", "close"])),
    st.builds(SetStock, _request_ids, _skus, st.integers(0, 12), st.just("counted"), _expected_versions),
    st.builds(AdjustStock, _request_ids, _skus, st.integers(-6, 6).filter(bool), st.just("moved")),
)

batches: st.SearchStrategy[list[Change]] = st.builds(
    lambda first, sold, then: [*first, *sold, *then],
    _stocked_up,
    st.lists(_sells, min_size=1, max_size=6),
    st.lists(_changes, min_size=3, max_size=40),
)
"""Two of the three skus have stock, and some orders are sold before chance gives any back."""
