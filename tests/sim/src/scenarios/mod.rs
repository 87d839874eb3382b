//! The scenarios S1 to S28: regressions that others have lived through, each played with several seeds.

pub mod bookies;
pub mod brokers;
pub mod fencing;
pub mod logs;
pub mod recovery;

/// A scenario: what was violated, if anything was.
pub type Scenario = fn() -> Result<(), String>;

pub const ALL: &[(&str, Scenario)] = &[
    (
        "s01_a_bookie_that_only_a_recovery_read_reached_takes_no_more_adds",
        fencing::s01_a_bookie_that_only_a_recovery_read_reached_takes_no_more_adds,
    ),
    (
        "s03_no_answer_is_given_before_its_fence_is_durable",
        fencing::s03_no_answer_is_given_before_its_fence_is_durable,
    ),
    (
        "s04_a_fence_outlives_checkpoint_trim_and_crash",
        fencing::s04_a_fence_outlives_checkpoint_trim_and_crash,
    ),
    (
        "s07_two_recoverers_and_a_live_writer_agree_on_one_end",
        fencing::s07_two_recoverers_and_a_live_writer_agree_on_one_end,
    ),
    (
        "s08_bookies_recreated_at_the_same_addresses_take_no_adds_for_a_closed_ledger",
        fencing::s08_bookies_recreated_at_the_same_addresses_take_no_adds_for_a_closed_ledger,
    ),
    (
        "s02_recovery_of_an_empty_last_segment_finds_the_end_and_the_length",
        recovery::s02_recovery_of_an_empty_last_segment_finds_the_end_and_the_length,
    ),
    (
        "s09_a_wiped_bookie_and_a_lost_one_do_not_truncate",
        recovery::s09_a_wiped_bookie_and_a_lost_one_do_not_truncate,
    ),
    (
        "s10_recovery_does_not_end_a_ledger_at_a_damaged_entry",
        recovery::s10_recovery_does_not_end_a_ledger_at_a_damaged_entry,
    ),
    ("s16_coverage_is_what_every_ack_quorum_needs", recovery::s16_coverage_is_what_every_ack_quorum_needs),
    ("s17_all_lose_power_at_once_and_one_its_disk", recovery::s17_all_lose_power_at_once_and_one_its_disk),
    (
        "s18_a_transaction_whose_outcome_is_not_told_is_not_done_twice",
        recovery::s18_a_transaction_whose_outcome_is_not_told_is_not_done_twice,
    ),
    ("s05_a_flush_that_failed_once_loses_nothing", bookies::s05_a_flush_that_failed_once_loses_nothing),
    (
        "s11_garbage_collection_survives_listings_that_leave_ledgers_out",
        bookies::s11_garbage_collection_survives_listings_that_leave_ledgers_out,
    ),
    (
        "s14_a_bookie_whose_sync_failed_acknowledges_nothing_more",
        bookies::s14_a_bookie_whose_sync_failed_acknowledges_nothing_more,
    ),
    (
        "s15_a_write_that_was_cut_short_poisons_nothing_that_comes_later",
        bookies::s15_a_write_that_was_cut_short_poisons_nothing_that_comes_later,
    ),
    (
        "s06_what_is_acknowledged_while_the_roll_is_under_way_can_be_read",
        logs::s06_what_is_acknowledged_while_the_roll_is_under_way_can_be_read,
    ),
    (
        "s12_an_owner_that_was_paused_gets_nothing_acknowledged_after_another_opened",
        logs::s12_an_owner_that_was_paused_gets_nothing_acknowledged_after_another_opened,
    ),
    (
        "s13_the_first_append_to_an_idle_head_ledger_is_durable_or_refused",
        logs::s13_the_first_append_to_an_idle_head_ledger_is_durable_or_refused,
    ),
    (
        "s18_ambiguous_transactions_of_a_log_are_not_done_twice",
        logs::s18_ambiguous_transactions_of_a_log_are_not_done_twice,
    ),
    (
        "s16_entries_beyond_32_bits_are_where_readers_look",
        recovery::s16_entries_beyond_32_bits_are_where_readers_look,
    ),
    (
        "s08_bookies_that_took_the_place_of_decommissioned_ones_take_no_adds_for_a_closed_ledger",
        fencing::s08_bookies_that_took_the_place_of_decommissioned_ones_take_no_adds_for_a_closed_ledger,
    ),
    (
        "b10_a_bookie_with_a_slow_disk_holds_no_more_than_it_may",
        bookies::b10_a_bookie_with_a_slow_disk_holds_no_more_than_it_may,
    ),
    (
        "s10_damage_below_what_was_acknowledged_is_not_cut_off",
        bookies::s10_damage_below_what_was_acknowledged_is_not_cut_off,
    ),
    (
        "s05_what_is_replayed_after_a_failed_sync_is_written_again",
        bookies::s05_what_is_replayed_after_a_failed_sync_is_written_again,
    ),
    (
        "s19_what_is_given_up_in_order_is_served_by_another_within_a_second",
        brokers::s19_what_is_given_up_in_order_is_served_by_another_within_a_second,
    ),
    (
        "s20_an_owner_that_was_paused_steps_down_and_takes_nothing_back",
        brokers::s20_an_owner_that_was_paused_steps_down_and_takes_nothing_back,
    ),
    ("s21_a_lease_that_ends_early_leaves_one_owner", brokers::s21_a_lease_that_ends_early_leaves_one_owner),
    (
        "s22_claims_whose_outcome_is_not_told_are_served_or_left",
        brokers::s22_claims_whose_outcome_is_not_told_are_served_or_left,
    ),
    (
        "s23_a_broker_that_is_started_again_serves_at_once",
        brokers::s23_a_broker_that_is_started_again_serves_at_once,
    ),
    (
        "s24_an_owner_that_was_robbed_unnoticed_begins_anew",
        brokers::s24_an_owner_that_was_robbed_unnoticed_begins_anew,
    ),
    (
        "s25_a_checkpoint_that_a_stop_gives_up_is_made_good_by_the_next",
        brokers::s25_a_checkpoint_that_a_stop_gives_up_is_made_good_by_the_next,
    ),
    (
        "s26_an_owner_that_dies_when_its_log_is_trimmed_has_saved_where_queues_begin",
        brokers::s26_an_owner_that_dies_when_its_log_is_trimmed_has_saved_where_queues_begin,
    ),
    (
        "s27_an_idle_owner_that_was_robbed_unnoticed_claims_nothing_back",
        brokers::s27_an_idle_owner_that_was_robbed_unnoticed_claims_nothing_back,
    ),
    (
        "s28_an_owner_whose_log_was_opened_past_its_claim_closes_its_doors",
        brokers::s28_an_owner_whose_log_was_opened_past_its_claim_closes_its_doors,
    ),
];
