"""The stages of recipes, one file for each: a new one is a `Stage` in a file of its own, and its name here."""

from __future__ import annotations

from organza.compress.stages.encode import EncodeStage
from organza.compress.stages.factorize import FactorizeStage
from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.grow import GrowStage
from organza.compress.stages.prune import PruneStage
from organza.compress.stages.quantize import QuantizeStage
from organza.compress.stages.search import SearchStage
from organza.compress.stages.stage import Stage

STAGES: dict[str, type[Stage]] = {
    stage.kind: stage
    for stage in (GrowStage, PruneStage, FactorizeStage, QuantizeStage, SearchStage, FinetuneStage, EncodeStage)
}
