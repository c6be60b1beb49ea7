/**
 * Shell text that takes our iptables rules and ipsets away without Deno: for a watchdog that outlives us.
 *
 * It reads what is there and turns it into what removes it, as iptables_listing.ts and iptables_restore.ts do, with
 * sed, because a small host may have nothing more.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { findIptablesScript, type IptablesName } from "./iptables_programs.ts";
import { COMMENT_PREFIX } from "./state_comment.ts";

/**
 * Fails, and changes nothing of that family, when the rules are a successor's by then.
 *
 * @param by the process that the rules have to belong to still; null: whoever's.
 */
export function iptablesRemoveScript(
  name: IptablesName,
  tableName: string,
  by: string | null,
  families: readonly IpFamily[],
): string {
  const jump = `--comment "${COMMENT_PREFIX} [^"]*" -j ${tableName}_`;
  const successors = by === null
    ? "false"
    : `printf "%s\\n" "$saved" | grep -e ${quoted(jump)} | grep -qve ${quoted(` by ${by}[ "]`)}`;
  const edit = [
    // The held lines are those that end a table: its chains can go only after everything that leads to them.
    "/^\\*/{p;s/.*//;h;}",
    `/^:${tableName}_/{s/ .*/ - [0:0]/;p;s/^:\\([^ ]*\\).*/-X \\1/;H;}`,
    `/^-A [A-Z]* .*${jump}/{s/^-A/-D/;p;}`,
    "/^COMMIT/{x;s/^\\n//;/./p;s/.*/COMMIT/;p;}",
  ].join("\n");
  return [
    "PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; failed=",
    ...findIptablesScript(name),
    `for family in ${families.map((family) => family === 4 ? "ip" : "ip6").join(" ")}; do`,
    '[ -n "$iptables" ] || break',
    'tool=$family${iptables#ip}; saved=$("$tool-save" 2>/dev/null) || failed=yes',
    `if ${successors}; then failed=yes; break; fi`,
    `printf "%s\\n" "$saved" | sed -n ${quoted(edit)} | "$tool-restore" -w 5 --noflush || failed=yes`,
    "done",
    // Sets that rules still ask for cannot be destroyed; the kernel lets go of an nft rule's a moment later. A
    // successor fills its sets before its rules ask for them.
    `ours() { ipset list -n 2>/dev/null | grep -E '^${tableName}_([a-z][A-Za-z0-9_]*_[46]_[0-9a-f]{8,}|fill)$'; }`,
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
