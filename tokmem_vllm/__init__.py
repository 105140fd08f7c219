"""Memories on vLLM: a connector that puts a memory behind a message in vLLM's own cache of keys and values.

vLLM loads ``connector`` by itself (``kv_connector_module_path``); beside it only ``offline`` imports vLLM. A message is
read by one request and answered by another (``wishes`` says what both hold). Between them the connector edits the
message's keys and values and writes the memory's behind them (``steered``), into the blocks that vLLM gave the second
request (``paged``). ``plain_model`` writes the folder that vLLM serves, ``model_facts`` reads what memories need to
know of it.

It routes nothing, trains nothing and knows no profile's database: what it gets is a name for the person, a memory's
digest and token ids.
"""
