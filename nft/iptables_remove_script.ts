/**
 * Shell text that takes our iptables rules and ipsets away without Deno: for a watchdog that outlives us.
 *
 * It reads what is there and turns it into what removes it, as iptables_listing.ts and iptables_restore.ts do, with
 * sed, because a small host may have nothing more.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { SUCCESSOR_CODE } from "./backend.ts";
import { findIptablesScript, type IptablesName } from "./iptables_programs.ts";
import { CHAIN_PATTERN, STATE_PATTERN } from "./own_marks.ts";

/**
 * Ends with {@linkcode SUCCESSOR_CODE}, and changes nothing of that family, when the rules are a successor's by then.
 * Chains of ours that somebody else's rules lead to are emptied and stay.
 *
 * @param by the process that the rules have to belong to still; null: whoever's.
 */
export function iptablesRemoveScript(
  name: IptablesName,
  tableName: string,
  by: string | null,
  families: readonly IpFamily[],
): string {
  const chain = `${tableName}_${CHAIN_PATTERN}`;
  const jump = `--comment "${STATE_PATTERN}" -j ${tableName}_[a-z]`;
  const successors = by === null
    ? "false"
    : `printf "%s\\n" "$saved" | grep -E -e ${quoted(jump)} | grep -qve ${quoted(` by ${by}[ "]`)}`;
  const referred =
    `printf "%s\\n" "$saved" | grep -vE -e ${quoted(`^-A ${chain} `)} -e ${
      quoted(`^-A [A-Z]* .*${jump}`)
    } | ` +
    `sed -nE ${quoted(`s/^-A .* -[jg] (${chain})$/\\1/p`)}`;
  const edit = [
    // The held lines are those that end a table: its chains can go only after everything that leads to them.
    "/^\\*/{p;s/.*//;h;}",
    `/^:${chain} /{s/ .*/ - [0:0]/;p;s/^:([^ ]*).*/-X \\1/;H;}`,
    `/^-A [A-Z]* .*${jump}/{s/^-A/-D/;p;}`,
    "/^COMMIT/{x;s/^\\n//;/./p;s/.*/COMMIT/;p;}",
  ].join("\n");
  return [
    "PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; failed=; successors=",
    ...findIptablesScript(name),
    `for family in ${families.map((family) => family === 4 ? "ip" : "ip6").join(" ")}; do`,
    '[ -n "$iptables" ] || break',
    'tool=$family${iptables#ip}; saved=$("$tool-save" 2>/dev/null) || failed=yes',
    `if ${successors}; then successors=yes; break; fi`,
    "keep=",
    `for chain in $(${referred}); do keep="$keep;/^:$chain /{s/ .*/ - [0:0]/;p;d;}"; done`,
    `text=$(printf "%s\\n" "$saved" | sed -nE "\${keep#;}"${quoted(`\n${edit}`)}) || failed=yes`,
    'printf "%s\\n" "$text" | "$tool-restore" -w 5 --noflush || failed=yes',
    "done",
    // Sets that rules still ask for cannot be destroyed; the kernel lets go of an nft rule's a moment later. A
    // successor fills its sets before its rules ask for them.
    `ours() { ipset list -n 2>/dev/null | grep -E '^${tableName}_([a-z][A-Za-z0-9_]*_[46]_[0-9a-f]{8,}|fill)$'; }`,
    ...(by === null ? [] : [`[ -z "$successors" ] || exit ${SUCCESSOR_CODE}`]),
    "for attempt in 1 2 3; do",
    '[ -z "$failed" ] && [ -n "$(ours)" ] || break',
    '[ "$attempt" = 1 ] || sleep 1',
    'for set in $(ours); do ipset destroy "$set" 2>/dev/null; done',
    "done",
    '[ -z "$failed" ]',
  ].join("\n");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
