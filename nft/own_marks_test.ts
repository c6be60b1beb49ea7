import { assert, assertEquals } from "../tests/assert.ts";
import { isOwnChainName, ownState, STATE_PATTERN } from "./own_marks.ts";
import { formatState } from "./state_comment.ts";
import { isOurs, parseTables } from "./table_listing.ts";

const HASH = "0123456789abcdef";
const OURS = [
  `intercept ${HASH}`,
  `drain ${HASH} by 12/34`,
  `intercept ${HASH} sysctl net/ipv4/x=0`,
  `intercept ${HASH} closed by 12/34 sysctl net/ipv4/x=0 net/ipv4/y=1`,
];
const THEIRS = [
  "nobody talks to the listener",
  "drain everything",
  "intercept",
  `intercept ${HASH} of theirs`,
];

Deno.test("ownState: what we write, and nothing that only begins like it", () => {
  const pattern = new RegExp(`^${STATE_PATTERN}$`);
  for (const text of OURS) {
    const comment = `pellucid: ${text}`;
    assertEquals(formatState(ownState(comment)!), text);
    assert(pattern.test(comment), comment);
    assertEquals(ownState(text), undefined, "not without our name");
  }
  for (const text of THEIRS) {
    assertEquals(ownState(`pellucid: ${text}`), undefined, text);
    assert(!pattern.test(`pellucid: ${text}`), text);
  }
});

Deno.test("isOurs: nft tables by their whole comment", () => {
  const isTableOurs = (comment: string) =>
    isOurs(parseTables(`table inet t { # handle 1\n\tcomment "pellucid: ${comment}"\n}\n`)[0]!);
  const claimed = "claimed 5d1ff9f6-c9d1-4a1e-a4a2-0d9a4a2a1b1f";
  for (const comment of ["chain state says what is loaded", claimed, OURS[0]!]) {
    assert(isTableOurs(comment), comment);
  }
  for (const comment of [...THEIRS, "chain state says what is loaded here"]) {
    assert(!isTableOurs(comment), comment);
  }
});

Deno.test("isOwnChainName: every chain of every golden case, and no other", () => {
  const folder = new URL("../tests/golden/", import.meta.url);
  let count = 0;
  for (const { name: example } of Deno.readDirSync(folder)) {
    for (const phase of ["intercept", "drain"]) {
      const text = Deno.readTextFileSync(new URL(`${example}/${phase}.iptables`, folder));
      for (const [, name] of text.matchAll(/^:(\S+) - /gm)) {
        const tableName = name!.slice(0, name!.indexOf("_"));
        assert(isOwnChainName(name!, tableName), `${example}: ${name}`);
        assert(!isOwnChainName(`${name}x`, tableName) && !isOwnChainName(name!, "another"), name);
        count++;
      }
    }
  }
  assert(count > 1000, `${count}`);
});
