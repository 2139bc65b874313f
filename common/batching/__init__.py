"""Calls of one moment are carried out together, by the first of them, without a thread of their own."""

from common.batching.error_copy import copy_of
from common.batching.group_commit import GroupCommit, NotBatchable
from common.batching.groups import Call, Groups

__all__ = ["Call", "GroupCommit", "Groups", "NotBatchable", "copy_of"]
