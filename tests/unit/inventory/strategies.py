"""Changes as chance wants them, from few names, so that they meet: repeats, tombstones, late sells, other contents."""

from hypothesis import strategies as st

from inventory_srv.changes import AdjustStock, Change, Reback, Sell, SetStock
from inventory_srv.records import Line

_skus = st.sampled_from(["tea", "mug", "pot"])
_order_sns = st.sampled_from(["o1", "o2", "o3", "o4"])
_request_ids = st.sampled_from(["r1", "r2", "r3", "r4", "r5", "r6"])
_lines = st.lists(st.builds(Line, _skus, st.integers(1, 4)), min_size=1, max_size=4).map(tuple)

changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(Sell, _order_sns, _lines),
    st.builds(Reback, _order_sns, st.sampled_from(["create", "close"])),
    st.builds(SetStock, _request_ids, _skus, st.integers(0, 12), st.just("counted"), st.none() | st.integers(0, 3)),
    st.builds(AdjustStock, _request_ids, _skus, st.integers(-6, 6).filter(bool), st.just("moved")),
)

batches = st.lists(changes, min_size=1, max_size=30)
