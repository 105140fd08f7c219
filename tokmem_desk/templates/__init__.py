"""The form of answers: templates found in pairs, JSON schemas a person declared, command lines filled from arguments.

It knows texts only, no model and no tokens. Holding a generated answer to a form is in ``tokmem_desk.generation``.
"""
