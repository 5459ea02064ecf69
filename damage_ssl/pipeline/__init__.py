"""The stages in order, on one event. The command line and the app call these; each reads what the one before wrote.

`cut_patches` → labels → `start_run` → `train_run` → `predict_event` → `export_event`, `evaluate_event`; without labels
`start_zero_label` → `score_changes` → `export_event`.
"""

from damage_ssl.pipeline.ensemble import Gain, combine, common_gain, gain_on_truth, members_of, start_ensemble
from damage_ssl.pipeline.handover import ExportSummary, export_event, export_table
from damage_ssl.pipeline.learning import (
    PlannedRun,
    RunSummary,
    chosen_run,
    plan_of,
    plan_run,
    predict_event,
    resumed_run,
    run_summary,
    start_run,
    train_run,
)
from damage_ssl.pipeline.plans import RunPlan
from damage_ssl.pipeline.review import EvaluationReport, evaluate_event
from damage_ssl.pipeline.sources import SourcePlan, named_sources
from damage_ssl.pipeline.stages import (
    EventStatus,
    cut_patches,
    event_status,
    import_labels,
    made_from,
    next_to_label,
    open_labels,
)
from damage_ssl.pipeline.zero_label import score_changes, start_zero_label

__all__ = [
    "EvaluationReport",
    "EventStatus",
    "ExportSummary",
    "Gain",
    "PlannedRun",
    "RunPlan",
    "RunSummary",
    "SourcePlan",
    "chosen_run",
    "combine",
    "common_gain",
    "cut_patches",
    "evaluate_event",
    "event_status",
    "export_event",
    "export_table",
    "gain_on_truth",
    "import_labels",
    "made_from",
    "members_of",
    "named_sources",
    "next_to_label",
    "open_labels",
    "plan_of",
    "plan_run",
    "predict_event",
    "resumed_run",
    "run_summary",
    "score_changes",
    "start_ensemble",
    "start_run",
    "start_zero_label",
    "train_run",
]
