"""The rules of sim/model/rules.py, compiled."""

from __future__ import annotations

from sim.fast.jit import compiled
from sim.model import rules

new_refusal = compiled(rules.new_refusal)
place_refusal = compiled(rules.place_refusal)
space_refusal = compiled(rules.space_refusal)
delete_refusal = compiled(rules.delete_refusal)
cache_refuses = compiled(rules.cache_refuses)
new_data_of = compiled(rules.new_data_gib)
payer_rank = compiled(rules.payer_rank)
clone_s = compiled(rules.clone_s)
file_fits = compiled(rules.file_fits)
polled_s = compiled(rules.polled_s)
attach_wait_s = compiled(rules.attach_wait_s)
part_of = compiled(rules.part_of)
