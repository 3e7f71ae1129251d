"""Each statement of the protocol by which a run becomes rows once, and the tests that fail without it.

docs/explanation/protocol.md explains them. Statement 18 is of lake catalogs with branches, 28 of sources that follow a log.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SINGER = "target-iceberg/tests/singer"
TABLE = "target-iceberg/tests/table"
STATEMENTS: dict[str, list[str]] = {
    "1 end of file is not success": [
        "singer-arrow/tests/test_launcher.py::test_a_failing_tap_gets_no_end_and_its_code_is_passed_on",
        f"{SINGER}/test_run.py::test_end_of_file_without_the_end_mark_publishes_nothing",
        f"{SINGER}/test_run.py::test_a_signal_publishes_nothing",
        "tests/e2e/test_stopping.py::test_killing_meltano_alone_publishes_nothing",
    ],
    "2 source fingerprint": [f"{TABLE}/test_publish.py::test_a_bookmark_of_another_source_is_refused"],
    "3 an empty start state while a bookmark exists": [
        f"{SINGER}/test_run.py::test_a_run_from_a_state_that_the_lake_no_longer_holds_is_overtaken"
    ],
    "4 the bookmark lies in the table": [
        f"{TABLE}/test_publish.py::test_n_grows_with_each_publish_and_the_bookmark_names_its_snapshot",
        f"{TABLE}/test_bookmark.py::test_a_state_that_is_one_unit_needs_tables_of_one_run",
    ],
    "5 compare and set": [
        f"{TABLE}/test_publish.py::test_two_runs_from_one_bookmark_publish_once",
        f"{TABLE}/test_publish.py::test_two_first_runs_publish_once",
        f"{TABLE}/test_publish.py::test_a_reset_forgets_the_state_and_overtakes_a_run_under_way",
        f"{SINGER}/test_run.py::test_nothing_new_makes_no_snapshot",
        f"{SINGER}/test_run.py::test_a_bookmark_that_moves_without_rows_is_a_snapshot",
    ],
    "6 rollback by somebody else": [
        f"{TABLE}/test_publish.py::test_after_a_rollback_by_somebody_else_the_older_receipt_is_the_bookmark",
        f"{TABLE}/test_foreign_writers.py::test_a_rollback_just_before_the_commit_overtakes_the_run",
    ],
    "7 size of the bookmark": [
        f"{TABLE}/test_bookmark.py::test_a_bookmark_survives_being_written_and_read",
        f"{TABLE}/test_bookmark.py::test_a_bookmark_too_large_for_a_property_is_refused",
    ],
    "8 state backend": [
        f"{SINGER}/test_meltano_state.py::test_a_missing_table_is_no_state",
        f"{SINGER}/test_meltano_state.py::test_a_lake_that_cannot_be_read_raises",
        f"{SINGER}/test_meltano_state.py::test_setting_state_never_moves_the_lake_and_never_raises",
        f"{SINGER}/test_meltano_state.py::test_deleting_state_resets_the_bookmark",
        f"{SINGER}/test_meltano_state.py::test_an_index_maps_state_ids_to_plans",
    ],
    "9 stage under field ids": [
        f"{TABLE}/test_publish.py::test_a_table_appears_only_with_its_first_publish",
        f"{TABLE}/test_foreign_writers.py::test_files_staged_under_other_field_ids_are_written_anew",
        f"{TABLE}/test_foreign_writers.py::test_a_table_made_anew_meanwhile_does_not_get_the_rows_of_a_run_for_the_old_one",
    ],
    "10 checkpoints": [
        f"{SINGER}/test_checkpoints.py::test_a_run_goes_on_from_the_checkpoint_of_a_killed_one",
        f"{SINGER}/test_checkpoints.py::test_a_checkpoint_that_does_not_fit_is_not_handed_out",
        f"{SINGER}/test_checkpoints.py::test_streams_that_cannot_go_on_start_over_and_the_others_do_not",
        f"{SINGER}/test_checkpoints.py::test_two_runs_that_go_on_from_one_checkpoint_publish_it_once_and_delete_nothing_of_it",
    ],
    "11 append": [
        f"{SINGER}/test_unique.py::test_in_warn_the_first_row_is_kept_and_later_ones_are_rejects",
        f"{SINGER}/test_run.py::test_rows_after_the_last_state_of_an_append_are_held_back",
        "tests/examples/test_examples.py::test_negative_example_is_found_with_place_and_remedy",
    ],
    "12 files without a key": [
        f"{SINGER}/test_run.py::test_a_changed_file_replaces_its_rows_and_a_new_one_adds_its_own",
        f"{TABLE}/test_publish.py::test_a_file_that_is_read_again_replaces_its_own_rows_only",
    ],
    "13 upsert by position deletes": [
        f"{TABLE}/test_publish.py::test_upsert_replaces_rows_by_key_in_one_snapshot",
        f"{TABLE}/test_publish.py::test_upsert_finds_keys_in_partitioned_tables",
        f"{TABLE}/test_publish.py::test_the_last_row_of_a_key_wins_within_a_run",
        f"{TABLE}/test_publish.py::test_replace_drops_earlier_rows_and_their_deletes_in_one_snapshot",
    ],
    "14 refusals": [
        f"{TABLE}/test_publish.py::test_replace_is_refused_where_another_job_has_rows",
        f"{TABLE}/test_publish.py::test_replace_and_append_are_refused_on_a_table_that_dativo_did_not_make",
        f"{SINGER}/test_run.py::test_a_replace_without_schema_is_refused",
        f"{SINGER}/test_run.py::test_a_replace_without_rows_keeps_the_table_unless_allowed",
    ],
    "15 one commit per table, and rounds": [
        f"{SINGER}/test_run.py::test_rejects_of_two_streams_of_one_table_are_both_kept",
        f"{SINGER}/test_rounds.py::test_each_state_publishes_what_stands_before_it",
        f"{SINGER}/test_rounds.py::test_a_violation_withholds_its_round_and_ends_the_run",
    ],
    "16 conservation": [
        f"{SINGER}/test_run.py::test_the_last_row_of_a_key_wins_and_the_others_are_counted",
        "tests/crash/test_crash.py::test_kills_lose_and_double_nothing",
    ],
    "17 commit id": [
        f"{SINGER}/test_run.py::test_two_streams_publish_into_two_tables_with_one_commit_id",
        f"{SINGER}/test_checkpoints.py::test_a_publish_that_was_killed_is_completed_under_its_commit_id",
    ],
    "19 table by table": ["tests/crash/test_crash.py::test_kills_lose_and_double_nothing"],
    "20 unknown outcome": [
        f"{TABLE}/test_publish.py::test_a_commit_that_landed_though_its_answer_was_lost_is_not_repeated",
        f"{TABLE}/test_publish.py::test_a_commit_that_did_not_land_is_tried_again",
    ],
    "21 STATE leaves after publish": [
        f"{SINGER}/test_run.py::test_end_of_file_without_the_end_mark_publishes_nothing",
        f"{SINGER}/test_rounds.py::test_a_kill_between_rounds_loses_and_doubles_nothing",
    ],
    "22 the unit of publish is the run": [
        f"{SINGER}/test_run.py::test_strict_withholds_all_data_and_publishes_the_rejects",
        f"{SINGER}/test_run.py::test_warn_publishes_the_good_rows_and_exits_one",
        f"{SINGER}/test_run.py::test_a_flood_of_rejects_withholds_a_warn_run",
    ],
    "23 jitter and deadline": [f"{TABLE}/test_publish.py::test_waiting_is_spread_and_ends_at_a_deadline"],
    "24 strict reads on": [f"{SINGER}/test_run.py::test_strict_withholds_all_data_and_publishes_the_rejects"],
    "25 rejects carry n": [
        f"{SINGER}/test_run.py::test_rejects_of_a_withheld_run_are_taken_away_when_the_records_were_read_again",
        f"{SINGER}/test_rounds.py::test_rejects_of_all_rounds_are_kept_once",
    ],
    "26 replay": [
        f"{SINGER}/test_replay.py::test_a_killed_replay_is_completed_and_doubles_nothing",
        f"{SINGER}/test_replay.py::test_two_replays_at_once_load_each_reject_once",
        f"{SINGER}/test_replay.py::test_a_newer_row_of_the_key_stays",
        f"{SINGER}/test_replay.py::test_a_later_replace_closes_rejects",
    ],
    "27 masked rejects": [
        f"{SINGER}/test_replay.py::test_what_cannot_be_replayed_says_why",
        f"{SINGER}/test_run.py::test_values_of_classified_columns_are_in_no_reject_and_no_log",
    ],
    "29 batch files": [
        "singer-arrow/tests/test_batches.py::test_the_writer_waits_while_too_many_files_are_unread",
        "singer-arrow/tests/test_batches.py::test_close_waits_until_every_file_is_taken",
    ],
}


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_statement_has_its_tests(statement: str) -> None:
    for place in STATEMENTS[statement]:
        file, _, name = place.partition("::")
        assert name in functions_of(file), f"{statement}: {place}"
