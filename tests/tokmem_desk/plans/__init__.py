"""Tests of ``tokmem_desk.plans``."""
