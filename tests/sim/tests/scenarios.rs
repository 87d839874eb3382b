//! Every scenario as a test of its own.

use sim::scenarios::{bookies, brokers, fencing, logs, recovery};

#[test]
fn s01_a_bookie_that_only_a_recovery_read_reached_takes_no_more_adds() -> Result<(), String> {
    fencing::s01_a_bookie_that_only_a_recovery_read_reached_takes_no_more_adds()
}

#[test]
fn s03_no_answer_is_given_before_its_fence_is_durable() -> Result<(), String> {
    fencing::s03_no_answer_is_given_before_its_fence_is_durable()
}

#[test]
fn s04_a_fence_outlives_checkpoint_trim_and_crash() -> Result<(), String> {
    fencing::s04_a_fence_outlives_checkpoint_trim_and_crash()
}

#[test]
fn s07_two_recoverers_and_a_live_writer_agree_on_one_end() -> Result<(), String> {
    fencing::s07_two_recoverers_and_a_live_writer_agree_on_one_end()
}

#[test]
fn s08_bookies_recreated_at_the_same_addresses_take_no_adds_for_a_closed_ledger() -> Result<(), String> {
    fencing::s08_bookies_recreated_at_the_same_addresses_take_no_adds_for_a_closed_ledger()
}

#[test]
fn s02_recovery_of_an_empty_last_segment_finds_the_end_and_the_length() -> Result<(), String> {
    recovery::s02_recovery_of_an_empty_last_segment_finds_the_end_and_the_length()
}

#[test]
fn s09_a_wiped_bookie_and_a_lost_one_do_not_truncate() -> Result<(), String> {
    recovery::s09_a_wiped_bookie_and_a_lost_one_do_not_truncate()
}

#[test]
fn s10_recovery_does_not_end_a_ledger_at_a_damaged_entry() -> Result<(), String> {
    recovery::s10_recovery_does_not_end_a_ledger_at_a_damaged_entry()
}

#[test]
fn s16_coverage_is_what_every_ack_quorum_needs() -> Result<(), String> {
    recovery::s16_coverage_is_what_every_ack_quorum_needs()
}

#[test]
fn s17_all_lose_power_at_once_and_one_its_disk() -> Result<(), String> {
    recovery::s17_all_lose_power_at_once_and_one_its_disk()
}

#[test]
fn s18_a_transaction_whose_outcome_is_not_told_is_not_done_twice() -> Result<(), String> {
    recovery::s18_a_transaction_whose_outcome_is_not_told_is_not_done_twice()
}

#[test]
fn s05_a_flush_that_failed_once_loses_nothing() -> Result<(), String> {
    bookies::s05_a_flush_that_failed_once_loses_nothing()
}

#[test]
fn s11_garbage_collection_survives_listings_that_leave_ledgers_out() -> Result<(), String> {
    bookies::s11_garbage_collection_survives_listings_that_leave_ledgers_out()
}

#[test]
fn s14_a_bookie_whose_sync_failed_acknowledges_nothing_more() -> Result<(), String> {
    bookies::s14_a_bookie_whose_sync_failed_acknowledges_nothing_more()
}

#[test]
fn s15_a_write_that_was_cut_short_poisons_nothing_that_comes_later() -> Result<(), String> {
    bookies::s15_a_write_that_was_cut_short_poisons_nothing_that_comes_later()
}

#[test]
fn s06_what_is_acknowledged_while_the_roll_is_under_way_can_be_read() -> Result<(), String> {
    logs::s06_what_is_acknowledged_while_the_roll_is_under_way_can_be_read()
}

#[test]
fn s12_an_owner_that_was_paused_gets_nothing_acknowledged_after_another_opened() -> Result<(), String> {
    logs::s12_an_owner_that_was_paused_gets_nothing_acknowledged_after_another_opened()
}

#[test]
fn s13_the_first_append_to_an_idle_head_ledger_is_durable_or_refused() -> Result<(), String> {
    logs::s13_the_first_append_to_an_idle_head_ledger_is_durable_or_refused()
}

#[test]
fn s18_ambiguous_transactions_of_a_log_are_not_done_twice() -> Result<(), String> {
    logs::s18_ambiguous_transactions_of_a_log_are_not_done_twice()
}

#[test]
fn s16_entries_beyond_32_bits_are_where_readers_look() -> Result<(), String> {
    recovery::s16_entries_beyond_32_bits_are_where_readers_look()
}

#[test]
fn s05_what_is_replayed_after_a_failed_sync_is_written_again() -> Result<(), String> {
    bookies::s05_what_is_replayed_after_a_failed_sync_is_written_again()
}

#[test]
fn s08_bookies_that_took_the_place_of_decommissioned_ones_take_no_adds_for_a_closed_ledger()
-> Result<(), String> {
    fencing::s08_bookies_that_took_the_place_of_decommissioned_ones_take_no_adds_for_a_closed_ledger()
}

#[test]
fn s10_damage_below_what_was_acknowledged_is_not_cut_off() -> Result<(), String> {
    bookies::s10_damage_below_what_was_acknowledged_is_not_cut_off()
}

#[test]
fn b10_a_bookie_with_a_slow_disk_holds_no_more_than_it_may() -> Result<(), String> {
    bookies::b10_a_bookie_with_a_slow_disk_holds_no_more_than_it_may()
}

#[test]
fn s19_what_is_given_up_in_order_is_served_by_another_within_a_second() -> Result<(), String> {
    brokers::s19_what_is_given_up_in_order_is_served_by_another_within_a_second()
}

#[test]
fn s20_an_owner_that_was_paused_steps_down_and_takes_nothing_back() -> Result<(), String> {
    brokers::s20_an_owner_that_was_paused_steps_down_and_takes_nothing_back()
}

#[test]
fn s21_a_lease_that_ends_early_leaves_one_owner() -> Result<(), String> {
    brokers::s21_a_lease_that_ends_early_leaves_one_owner()
}

#[test]
fn s22_claims_whose_outcome_is_not_told_are_served_or_left() -> Result<(), String> {
    brokers::s22_claims_whose_outcome_is_not_told_are_served_or_left()
}

#[test]
fn s23_a_broker_that_is_started_again_serves_at_once() -> Result<(), String> {
    brokers::s23_a_broker_that_is_started_again_serves_at_once()
}

#[test]
fn s24_an_owner_that_was_robbed_unnoticed_begins_anew() -> Result<(), String> {
    brokers::s24_an_owner_that_was_robbed_unnoticed_begins_anew()
}

#[test]
fn s25_a_checkpoint_that_a_stop_gives_up_is_made_good_by_the_next() -> Result<(), String> {
    brokers::s25_a_checkpoint_that_a_stop_gives_up_is_made_good_by_the_next()
}

#[test]
fn s26_an_owner_that_dies_when_its_log_is_trimmed_has_saved_where_queues_begin() -> Result<(), String> {
    brokers::s26_an_owner_that_dies_when_its_log_is_trimmed_has_saved_where_queues_begin()
}

#[test]
fn s27_an_idle_owner_that_was_robbed_unnoticed_claims_nothing_back() -> Result<(), String> {
    brokers::s27_an_idle_owner_that_was_robbed_unnoticed_claims_nothing_back()
}

#[test]
fn s28_an_owner_whose_log_was_opened_past_its_claim_closes_its_doors() -> Result<(), String> {
    brokers::s28_an_owner_whose_log_was_opened_past_its_claim_closes_its_doors()
}
