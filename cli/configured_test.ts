import { formatEndpoint } from "../net/mod.ts";
import { ConfigError, formatIssue } from "../config/mod.ts";
import { type FileSettings, keyOfFlag, SETTING_KEYS } from "../config/file/mod.ts";
import { assert, assertEquals, assertRejects } from "../tests/assert.ts";
import { COMMANDS } from "./commands.ts";
import { readConfigured } from "./configured.ts";
import { INTERCEPTION_FLAGS, interceptionConfig } from "./interception_flags.ts";
import { parseFlags } from "./parse_flags.ts";
import { checkRun, RUN_FLAGS, runConfig, type RunFlagValues } from "./run_flags.ts";

/** What `run` is told by a file of this text, and flags. */
async function configured(text: string, ...args: string[]) {
  await using file = await tempFile(text);
  return await readConfigured(RUN_FLAGS, parseFlags(RUN_FLAGS, ["--config", file.path, ...args]));
}

async function tempFile(text: string, mode = 0o600): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempFile({ suffix: ".toml" });
  await Deno.writeTextFile(path, text);
  await Deno.chmod(path, mode);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

const FILE = `
mode = "gateway"
workers = 3
[intercept]
from = ["eth1", "eth2"]
[tcp]
idle-timeout = "1h"
[udp]
filter = "address"
[dns]
resolvers = "192.0.2.53"
[rules]
tool = "none"
[upstream.office]
kind = "socks5"
server = "192.0.2.10:1080"
[policy]
default = "office"
`;

Deno.test("readConfigured: the file's values, and the defaults of what it does not say", async () => {
  const { values, issues } = await configured(FILE);
  const config = runConfig(values);
  assertEquals(issues, []);
  assertEquals(checkRun(values), []);
  assertEquals([config.workers, config.from, config.idleTimeoutMs], [3, ["eth1", "eth2"], 3_600_000]);
  assertEquals([config.udpFilter, config.rules, config.policy.otherwise], ["address", "none", "office"]);
  assertEquals(config.dns.map(formatEndpoint), ["192.0.2.53:53"]);
  assertEquals([config.port, config.halfClosedTimeoutMs], [7870, 240_000]);
});

Deno.test("readConfigured: flags that were given win, also with what is the default", async () => {
  const args = ["--from", "eth9", "--workers", "1", "--idle-timeout", "7440", "--rules", "auto", "--local"];
  const config = runConfig((await configured(FILE, ...args, "--upstream", "direct")).values);
  assertEquals([config.from, config.workers, config.idleTimeoutMs], [["eth9"], 1, 7_440_000]);
  assertEquals([config.rules, config.local, config.policy.otherwise], ["auto", true, "direct"]);
  assertEquals(config.upstreams.map(({ name }) => name), ["direct", "block", "office"]);
});

Deno.test("readConfigured: a command that needs a tool is not told to use none", async () => {
  await using file = await tempFile(FILE);
  const { values } = await readConfigured(
    INTERCEPTION_FLAGS,
    parseFlags(INTERCEPTION_FLAGS, ["--config", file.path]),
  );
  assertEquals([interceptionConfig(values).rules, interceptionConfig(values).from.length], ["auto", 2]);
});

Deno.test("readConfigured: what checks find is told by the file's keys, or by flags", async () => {
  const { values, inItsWords } = await configured(
    `${FILE}\n[limits]\nmax-connections = 0`,
    "--udp-timeout",
    "1",
  );
  const issues = inItsWords(checkRun(values));
  assertEquals(issues.map(({ path, place }) => [path, place?.line]), [
    ["limits.max-connections", 21],
    ["--udp-timeout", undefined],
  ]);
});

Deno.test("readConfigured: a flag that cannot be read is told once", async () => {
  const { values, issues, inItsWords } = await configured(FILE, "--workers", "x", "--upstream", "nobody");
  assertEquals(issues.map(({ path }) => path), ["--workers"]);
  assertEquals(inItsWords(checkRun(values)).map(({ path }) => path), ["--upstream"]);
});

Deno.test("readConfigured: passwords that others may read are warned about", async () => {
  const text = '[upstream.a]\nkind = "http"\nserver = "a:1"\nusername = "me"\npassword = "hunter2"\n';
  for (const [mode, count] of [[0o600, 0], [0o640, 1], [0o604, 1]] as const) {
    await using file = await tempFile(text, mode);
    const { warnings } = await readConfigured(RUN_FLAGS, parseFlags(RUN_FLAGS, ["--config", file.path]));
    assertEquals(warnings.length, count, `${mode}`);
    assert(!warnings.join().includes("hunter2"));
  }
});

Deno.test("readConfigured: a file that cannot be read is named", async () => {
  const read = (path: string) => readConfigured(RUN_FLAGS, parseFlags(RUN_FLAGS, ["--config", path]));
  for (const path of ["/nonexistent/a.toml", "/"]) {
    const { issues } = await assertRejects(() => read(path), ConfigError);
    assertEquals(issues.map(({ path, found }) => [path, found]), [["--config", path]]);
  }
  await using file = await tempFile("");
  await Deno.writeFile(file.path, new Uint8Array([0xff, 0xfe]));
  const { issues } = await assertRejects(() => read(file.path), ConfigError);
  assertEquals(issues.map(formatIssue), [
    `--config: ${file.path}, which is not UTF-8 found, a text file wanted`,
  ]);
});

Deno.test("every flag of run that is a setting has its key in the file", () => {
  // The compiler's part: what a key is read as is what its flag is read as.
  const settings: FileSettings = {};
  settings satisfies Partial<RunFlagValues>;
  const notSettings = ["config", "upstream-password-file", "dry-run"];
  for (const flag of Object.keys(RUN_FLAGS)) {
    assertEquals(keyOfFlag(flag) === undefined, notSettings.includes(flag), flag);
  }
  for (const flag of Object.keys(SETTING_KEYS)) assert(Object.hasOwn(RUN_FLAGS, flag), flag);
});

Deno.test("every command that takes what is intercepted takes a configuration file", () => {
  for (const { name, flags } of COMMANDS) assertEquals("config" in flags, "from" in flags, name);
});
