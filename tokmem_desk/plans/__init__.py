"""Plans: steps over procedures, with conditions. Reads and writes their text, evaluates conditions, says what is next.

It knows no model, no store and no command, and does nothing itself: ``tui.shared.plan_runs`` does the steps. Which form
an answer has is in ``tokmem_desk.templates``.
"""
