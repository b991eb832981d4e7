"""The fault plan: which faults the registry must survive, and the tests that let each of them happen.

    python tests/fault_plan.py    print docs/reference/faults.md

A case without a test, and a test that is not there, fail in test_faults_registry.py. Numbers that are missing belong
to signed indexes, training and serving.
"""

from __future__ import annotations

from collections.abc import Iterable


def _numbers(*ranges: tuple[int, int]) -> Iterable[str]:
    return (f"F{number:02}" for first, last in ranges for number in range(first, last + 1))


SCOPE = tuple(_numbers((1, 7), (10, 26), (29, 34), (36, 41), (63, 70)))

DOWNLOAD, TRANSPORT, STATIC = "test_download", "test_transport", "test_static_source"
CACHE, HOUSEKEEPING, CLIENT = "test_cache", "test_housekeeping", "test_client"
ARCHIVE, PDPARAMS, SAFETENSORS = "test_archive", "test_pdparams", "test_safetensors_header"
REGISTRY, CLI = "test_faults_registry", "test_faults_cli"


def _tests(file: str, *names: str) -> list[str]:
    return [f"tests/{file}.py::test_{name}" for name in names]


# case: what happens, and the tests of it
PLAN: dict[str, tuple[str, list[str]]] = {
    "F01": (
        "a download is killed at any byte, and run again",
        _tests(DOWNLOAD, "F01_kill_resumes", "F01_kill_between_the_last_byte_and_the_rename")
        + _tests(STATIC, "a_killed_download_goes_on_where_it_stopped"),
    ),
    "F02": (
        "a flipped bit, a cut file, another file of the same size",
        _tests(
            DOWNLOAD,
            "F02_flipped_bit_is_refused",
            "F02_other_file_is_refused",
            "F02_wrong_bytes_from_an_earlier_run_do_not_condemn_the_mirror",
        )
        + _tests(STATIC, "other_bytes_than_promised_are_refused_and_leave_nothing"),
    ),
    "F03": (
        "archives whose members want to leave their folder, or are no files",
        _tests(
            ARCHIVE,
            "an_archive_is_taken_or_refused",
            "the_corpus_left_nothing_behind",
            "the_hostile_archives_are_live_ammunition",
            "a_hostile_name_is_no_safe_path",
        ),
    ),
    "F04": (
        "zips that two readers read differently, files of two kinds at once",
        _tests(ARCHIVE, "an_archive_is_taken_or_refused", "mutants_are_taken_or_refused_and_leave_nothing"),
    ),
    "F05": (
        "weights that are a program: code, bombs, nests",
        _tests(
            PDPARAMS,
            "a_hostile_file_is_refused",
            "the_corpus_ran_nothing_and_took_little_memory",
            "the_hostile_files_are_live_ammunition",
            "any_program_gives_plain_values_or_is_refused",
        ),
    ),
    "F06": ("damaged weights, 20,000 times", _tests(PDPARAMS, "20_000_mutants_are_read_or_refused")),
    "F07": (
        "somebody brings back a call that runs what a stranger wrote",
        _tests("test_forbidden", "nothing_forbidden", "every_exception_is_still_needed", "the_gate_sees"),
    ),
    "F10": (
        "the disk is too small, or gets full on the way",
        _tests(
            DOWNLOAD,
            "F10_disk_too_small_is_known_before_the_first_byte",
            "F10_disk_too_small_is_known_from_the_headers",
            "F10_disk_full_on_the_way",
            "F10_file_larger_than_the_process_may_write",
        )
        + _tests(
            CACHE,
            "a_full_disk_leaves_nothing_behind",
            "too_little_space_is_refused_before_a_byte_is_written",
        ),
    ),
    "F11": (
        "an installation is killed at every step, over an older release too",
        _tests(CACHE, "killed_at_any_step_a_module_is_absent_or_right_and_the_next_run_finishes")
        + _tests("test_publish", "killed_at_any_step_an_index_is_the_old_or_the_new_one"),
    ),
    "F12": (
        "many processes install and uninstall the same module",
        _tests(REGISTRY, "F12_installing_uninstalling_and_pruning_at_once_leaves_one_state_or_the_other")
        + _tests(DOWNLOAD, "F12_eight_processes_transfer_once")
        + _tests(STATIC, "many_processes_and_threads_transfer_a_module_once")
        + _tests(HOUSEKEEPING, "blobs_stay_while_somebody_installs")
        + _tests("test_publish", "two_publishers_at_once_lose_nothing"),
    ),
    "F13": (
        "the connection is closed, reset or silent, again and again",
        _tests(
            DOWNLOAD,
            "F13_break_resumes",
            "F13_progress_resets_the_retry_counter",
            "F13_a_stall_is_seen_when_reading_has_taken_too_long_whatever_connecting_may_take",
            "F13_without_progress_five_tries_are_enough",
            "F13_break_in_one_of_many_connections",
        ),
    ),
    "F14": (
        "the server is busy, or says no",
        _tests(DOWNLOAD, "F14_passing_trouble_is_survived", "F14_final_answers_are_not_repeated"),
    ),
    "F15": (
        "Retry-After of every kind",
        _tests(DOWNLOAD, "F15_retry_after", "F15_too_long_a_wait_is_refused_and_named"),
    ),
    "F16": (
        "parts of a file that nobody asked for, or that are wrong",
        _tests(
            DOWNLOAD,
            "F16_wrong_parts",
            "F16_wrong_offset_in_one_of_many_connections",
            "F16_416_for_the_whole_file_is_no_empty_file",
            "F16_the_end_of_a_part_is_not_taken_for_the_end_of_the_file",
            "F16_a_part_that_nobody_asked_for_is_refused",
        ),
    ),
    "F17": (
        "the file is replaced between two connections or runs",
        _tests(
            DOWNLOAD,
            "F17_if_range_carries_the_strong_etag",
            "F17_without_a_strong_etag_and_a_digest_the_file_starts_again",
            "F17_file_replaced_between_cut_and_resume",
            "F17_file_replaced_under_one_etag_gets_a_second_chance_and_no_third",
            "F17_file_replaced_between_two_runs",
            "F17_without_a_digest_a_killed_download_goes_on_if_the_server_vouches_for_it",
            "F17_without_a_digest_nothing_appears_that_the_server_has_not_just_vouched_for",
            "F17_without_a_digest_an_answer_without_an_etag_proves_nothing",
            "F17_without_a_digest_bytes_from_before_a_power_cut_are_not_trusted",
            "F17_server_that_ignores_if_range_is_found_out_by_its_etag",
        ),
    ),
    "F18": (
        "compressed, chunked, endless bodies, and one byte too many",
        _tests(
            DOWNLOAD,
            "F18_odd_bodies",
            "F18_without_length_a_cut_cannot_be_told_from_the_end_and_the_size_decides",
            "F18_endless_body_of_unknown_size_ends_at_the_limit",
        ),
    ),
    "F19": (
        "a server that drips",
        _tests(DOWNLOAD, "F19_drip_fails_with_the_measured_rate_and_the_next_mirror_goes_on"),
    ),
    "F20": (
        "mirrors that are dead, slow or wrong",
        _tests(
            DOWNLOAD,
            "F20_four_mirrors",
            "F20_demoted_mirrors_are_asked_last",
            "F20_all_mirrors_fail_and_each_says_why",
            "F20_a_mirror_goes_on_where_another_one_stopped",
        ),
    ),
    "F21": (
        "redirects to elsewhere, to nowhere, in a circle",
        _tests(
            TRANSPORT,
            "F21_redirect_on_one_origin_keeps_the_token",
            "F21_redirect_to_another_origin_loses_the_token",
            "F21_redirect_keeps_the_range",
            "F21_bad_targets_are_refused_at_once",
            "F21_ten_redirects_and_no_more",
            "F21_body_of_a_redirect_is_not_read",
            "F21_loop_ends",
            "F21_public_host_may_not_send_us_into_the_private_network",
            "F21_no_spelling_of_an_address_leads_into_the_private_network",
            "F21_what_leads_inside",
            "F21_a_name_is_judged_by_the_address_that_answers",
        ),
    ),
    "F22": (
        "certificates that are expired, of nobody, or of somebody else",
        _tests(
            TRANSPORT,
            "F22_private_authority_by_environment",
            "F22_bad_certificates_are_named_and_never_retried",
            "F22_a_certificate_that_only_new_pythons_refuse_is_named",
            "F22_redirect_from_https_to_http_is_refused",
            "F22_http_beyond_this_machine_needs_a_digest",
            "F22_missing_certificate_file_is_named",
            "F22_plain_server_behind_https_is_an_error_of_the_connection",
        ),
    ),
    "F23": (
        "no network, with all, half or nothing in the cache",
        _tests(DOWNLOAD, "F23_offline_asks_nobody", "F23_offline_finishes_what_has_arrived")
        + _tests(
            TRANSPORT,
            "F23_offline_opens_no_socket",
            "F23_unreachable_server_is_named",
            "F23_files_need_no_network",
        )
        + _tests(
            STATIC,
            "without_a_network_the_kept_copy_serves",
            "offline_lists_what_is_missing_and_the_command_to_run",
            "offline_half_a_module_lists_the_other_half",
            "an_installed_module_asks_no_server",
        ),
    ),
    "F24": (
        "proxies, and a broken one",
        _tests(
            TRANSPORT,
            "F24_http_proxy_with_user_and_password",
            "F24_https_proxy_is_a_tunnel_that_sees_no_token",
            "F24_no_proxy",
            "F24_broken_proxy_is_named_without_its_password",
            "F24_a_proxy_that_refuses_is_quoted",
            "F24_a_socks_proxy_names_what_is_missing",
        ),
    ),
    "F25": (
        "a token must reach its own server, and nothing else",
        _tests(
            TRANSPORT,
            "F25_token_is_in_no_log_journal_traceback_or_foreign_request",
            "F25_tokens_come_from_a_file_that_is_private",
            "F25_damaged_credentials_are_refused_unquoted",
            "F25_a_variable_names_one_origin",
            "F25_netrc_is_not_read",
        )
        + _tests("test_source_git", "a_token_does_not_follow_a_redirect"),
    ),
    "F26": (
        "an index that is swapped, huge, deep, ambiguous or no JSON",
        _tests(
            REGISTRY,
            "F26_bad_answer_is_refused_and_the_last_good_one_kept",
            "F26_swapped_entries_install_nothing_and_leave_what_is_installed",
            "F26_swapped_pages_are_refused_and_the_last_good_one_kept",
            "F26_a_module_yaml_that_is_a_list_is_refused",
        )
        + _tests(STATIC, "a_damaged_answer_is_refused_and_does_not_replace_the_kept_copy")
        + _tests("test_index", "json_is_strict", "a_damaged_page_is_refused_or_still_right"),
    ),
    "F29": (
        "300 hostile names, said to every command and every verb",
        _tests(
            CLI,
            "F29_every_command_is_tried_with_every_name",
            "F29_hostile_names_are_refused_everywhere_and_nothing_outside_is_written",
            "F29_hub_index_check_refuses_them_too",
        )
        + _tests("test_reference", "a_hostile_text_is_no_name", "any_text_is_refused_or_round_trips")
        + _tests(CLIENT, "a_hostile_name_touches_nothing"),
    ),
    "F30": (
        "a misspelt name, a folder of the same name",
        _tests(REGISTRY, "F30_a_misspelt_name_is_answered_with_the_right_one_and_never_installed")
        + _tests(CLIENT, "a_name_wins_over_a_folder", "a_folder_of_an_unknown_name_is_offered"),
    ),
    "F31": (
        "every kind of file of the cache is emptied, cut, exchanged or gone",
        _tests(
            REGISTRY,
            "F31_damage_is_listed_and_repaired_or_explained",
            "F31_show_of_a_damaged_module_says_how_to_repair_it",
        )
        + _tests(DOWNLOAD, "a_damaged_partial_never_becomes_a_file")
        + _tests(CACHE, "every_damage_is_named", "a_crafted_record_reaches_no_file_outside")
        + _tests(HOUSEKEEPING, "rot_is_found_and_repaired_by_the_next_install"),
    ),
    "F32": (
        "a module is removed while another process uses it",
        _tests(REGISTRY, "F32_uninstall_and_prune_leave_the_process_that_uses_the_module_alone")
        + _tests(HOUSEKEEPING, "a_removal_frees_what_was_said"),
    ),
    "F33": (
        "a file is changed after it was installed",
        _tests(REGISTRY, "F33_a_blob_that_was_exchanged_is_refused_at_the_next_load")
        + _tests(
            CACHE,
            "a_file_changed_in_place_is_noticed_at_the_next_load_and_put_right_by_install",
            "an_untouched_file_is_not_read_again",
        ),
    ),
    "F34": (
        "locks of the dead, locks that lie, locks that stay",
        _tests(
            DOWNLOAD,
            "F34_killed_lock_holder_is_followed_at_once",
            "F34_broken_locks_cost_transfers_and_never_the_file",
            "F34_lock_that_stays_taken_is_named",
            "F34_partials_of_dead_owners_are_adopted",
            "F34_partial_of_another_machine_is_adopted_after_ten_minutes_of_silence",
        )
        + _tests(CACHE, "locks_that_lie_cost_no_correctness", "a_lock_goes_with_its_process"),
    ),
    "F36": (
        "archives that grow: 1 to 1,000, a million members, holes, nests",
        _tests(
            ARCHIVE, "an_archive_is_taken_or_refused", "the_corpus_left_nothing_behind", "a_limit_is_kept"
        ),
    ),
    "F37": (
        "a module that brings code",
        _tests(ARCHIVE, "code_is_left_out_or_kept_but_never_run")
        + _tests("test_export", "code_and_links_are_refused")
        + _tests(
            "test_source_paddlehub", "a_module_that_is_a_program_is_refused_with_what_to_install_instead"
        )
        + _tests("test_source_git", "nothing_of_the_users_git_configuration_and_of_the_repository_runs"),
    ),
    "F38": (
        "a cache in an odd place, on an odd disk, for an odd user",
        _tests(
            REGISTRY,
            "F38_a_home_of_any_name_works",
            "F38_a_cache_on_another_device_works",
            "F38_under_any_umask_nobody_else_may_write_what_is_installed",
            "F38_a_disk_that_does_not_rename_is_one_clear_error_and_leaves_nothing",
            "F38_a_user_without_a_home_gets_an_answer",
            "F38_a_home_of_a_user_who_does_not_exist_is_a_usage_error",
        )
        + _tests(
            CACHE,
            "a_home_that_cannot_be_written_serves_readers_and_refuses_writers",
            "a_disk_without_hard_links_gets_copies",
            "a_lock_on_a_disk_without_locks_is_done_without",
        ),
    ),
    "F39": (
        "safetensors whose header lies",
        _tests(
            SAFETENSORS,
            "a_header_that_lies_is_refused",
            "the_corpus_took_little_memory",
            "4_000_mutants_are_taken_or_refused",
        ),
    ),
    "F40": (
        "a file of weights is replaced while it is in use",
        _tests(
            REGISTRY,
            "F40_a_file_in_use_is_only_ever_renamed_over",
            "F40_no_visible_file_is_ever_opened_for_writing",
        ),
    ),
    "F41": (
        "every type of number, in both formats",
        _tests(
            PDPARAMS,
            "a_file_of_paddle_is_read_as_paddle_reads_it",
            "a_file_of_paddle_2_6_under_numpy_1_is_read",
            "every_bfloat16_becomes_the_same_float32",
        )
        + _tests(SAFETENSORS, "every_type_of_paddle_is_known")
        + _tests("test_module_folders", "weights_are_read_in_every_type_that_numpy_has"),
    ),
    "F63": (
        "Ctrl-C at any moment",
        _tests(
            CLI,
            "F63_ctrl_c_at_any_moment_gives_130_and_the_old_or_the_new_state",
            "F63_ctrl_c_during_a_download_keeps_what_has_arrived",
            "F63_ctrl_c_while_a_server_is_silent_about_small_files_ends_the_process",
        )
        + _tests(DOWNLOAD, "interrupting_keeps_what_has_arrived"),
    ),
    "F64": (
        "the reader of stdout goes away",
        _tests(CLI, "F64_a_reader_that_leaves_after_the_first_line_is_no_error")
        + _tests("test_cli", "a_closed_pipe_is_quiet", "a_full_disk_behind_stdout_is_said"),
    ),
    "F65": (
        "a clock that is two years off",
        _tests(CLI, "F65_a_clock_two_years_off_is_named", "F65_doctor_finds_a_clock_two_years_off"),
    ),
    "F66": (
        "an index of 100,000 modules",
        _tests(CLI, "F66_a_command_over_100_000_modules_takes_less_than_200_mb")
        + _tests(STATIC, "an_index_of_100_000_modules_answers_in_a_second_and_200_mb"),
    ),
    "F67": (
        "sixteen threads, and forks of them, load one module",
        _tests(REGISTRY, "F67_sixteen_threads_and_their_forks_transfer_a_module_once"),
    ),
    "F68": (
        "a cache of a newer hub, and of an older one",
        _tests(
            REGISTRY,
            "F68_what_a_newer_hub_installed_is_left_alone_and_refused_clearly",
            "F68_what_an_older_hub_left_does_no_harm",
        )
        + _tests("test_index", "a_newer_index_is_refused_with_the_line_that_upgrades"),
    ),
    "F69": (
        "`hub doctor` on a machine with these faults",
        _tests(
            CLI,
            "F69_doctor_finds_the_fault_and_says_what_to_do",
            "F69_doctor_finds_a_cache_that_cannot_be_written",
        )
        + _tests(
            "test_cli_doctor",
            "settings_that_are_wrong_are_found",
            "a_damaged_record_in_the_cache_is_found",
            "an_index_that_refuses_is_found",
            "an_index_that_hangs_costs_less_than_five_seconds",
        ),
    ),
    "F70": (
        "what an error says: what, where, what to do, in few lines, without a password",
        _tests(REGISTRY, "F70_an_error_says_what_where_and_what_to_do_in_few_lines")
        + _tests(TRANSPORT, "every_kind_of_fault_says_what_to_do", "redacted_urls_show_no_secret"),
    ),
}

# Where a case is narrower here than in the plan, and why.
PARTLY = {
    "F06": "20,000 mutants on every run, not 200,000",
    "F26": "an index has no signature yet; its promises are the digests on the pages",
    "F63": "50 moments in each command that writes, each at the start of a system call; in training Ctrl-C asks for "
    "a checkpoint instead. An export interrupted twice may leave its hidden temporary folder beside the target",
    "F66": "`hub list` prints every row, for which it may take 3 s; reading them takes less than 1 s",
    "F69": "what `hub doctor` looks at; every byte of every file is for `hub cache verify`",
}


def page() -> str:
    """Give docs/reference/faults.md."""
    rows = []
    for case, (title, tests) in PLAN.items():
        names = "<br>".join(f"`{name.removeprefix('tests/')}`" for name in tests)
        rows.append(f"| {case} | {title}{'. *' + PARTLY[case] + '*' if case in PARTLY else ''} | {names} |\n")
    count = len({name for _, tests in PLAN.values() for name in tests})
    return (
        "<!-- generated: python tests/fault_plan.py > docs/reference/faults.md -->\n\n# Faults\n\n"
        f"What is made to go wrong in the tests of the registry: {len(PLAN)} cases, {count} tests, most of them over a "
        "table of\nfaults. In every one of them a file is absent afterwards, or it has the right sha256.\n\n"
        "| case | what happens | tests |\n| --- | --- | --- |\n" + "".join(rows)
    )


if __name__ == "__main__":
    print(page(), end="")
