import { assertEquals, assertRejects } from "../tests/assert.ts";
import { checkImports, formatViolation } from "./check_imports.ts";

/** Writes `files` (path → text) into a folder of their own and returns what the checker says of them. */
async function violationsIn(files: Record<string, string>): Promise<string[]> {
  const root = await Deno.makeTempDir({ prefix: "pellucid-check-imports-" });
  try {
    const imports = { "@logtape/logtape": "npm:@logtape/logtape@2.4.2" };
    await Deno.writeTextFile(`${root}/deno.json`, JSON.stringify({ imports, lock: false }));
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(`${root}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(`${root}/${path}`, text);
    }
    return (await checkImports(root)).map(formatViolation);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const NET = { "net/mod.ts": "export type Port = number;\nexport const PORT: Port = 1;\n" };
const STATS = { "dataplane/stats.ts": "export const CELLS = 1;\n" };

Deno.test("checkImports: what the table allows passes", async () => {
  assertEquals(
    await violationsIn({
      ...NET,
      ...STATS,
      "ffi/socket.ts":
        `import { PORT } from "../net/mod.ts";\nexport const s = [PORT, Deno.dlopen, Deno.UnsafePointer];\n`,
      "tcp/relay.ts":
        `import { s } from "../ffi/socket.ts";\nimport { p } from "./pipe.ts";\nexport const r = [s, p];\n`,
      "tcp/pipe.ts": "export const p = 1;\n",
      "tcp/relay_test.ts":
        `import { r } from "./relay.ts";\nimport "../cli/run.ts";\nawait Promise.resolve(r);\n`,
      "dataplane/main.ts":
        `import "../tcp/relay.ts";\nimport { receiveMessageOnPort } from "node:worker_threads";\nreceiveMessageOnPort;\n`,
      "control/app.ts":
        `import "@logtape/logtape";\nimport "../dataplane/stats.ts";\nnew Worker(new URL("../dataplane/main.ts", import.meta.url));\n`,
      "nft/exec.ts": `export const run = () => new Deno.Command("nft");\n`,
      "cli/run.ts": `import "../control/app.ts";\nexport class Command {}\n`,
      "demo/stage.ts": `import "../tests/lab/mod.ts";\nexport const stage = 1;\n`,
      "tests/lab/mod.ts": `export * from "./lab.ts";\n`,
      "mod.ts": `export * from "./cli/run.ts";\n`,
      "tests/lab/lab.ts":
        `import "../../ffi/socket.ts";\nimport "../../control/app.ts";\nnew Deno.Command("ip");\n`,
      ".tools/x.ts": `import "../net/none.ts";\n`,
    }),
    [],
  );
});

const BREACHES: Record<string, { files: Record<string, string>; found: string }> = {
  "an upward import": {
    files: { "net/a.ts": `\nimport { b } from "../cli/b.ts";\nb;\n`, "cli/b.ts": "export const b = 1;\n" },
    found: "net/a.ts:2: imports cli/b.ts: net may import nothing",
  },
  "a type-only import": {
    files: {
      "nft/a.ts": `import type { S } from "../ffi/s.ts";\nexport type T = S;\n`,
      "ffi/s.ts": "export type S = 1;\n",
    },
    found: "nft/a.ts:1: imports ffi/s.ts: nft may import only net",
  },
  "a re-export": {
    files: { "tcp/a.ts": `export * from "../udp/b.ts";\n`, "udp/b.ts": "export const b = 1;\n" },
    found: "tcp/a.ts:1: imports udp/b.ts: tcp may import only flow, ffi, net",
  },
  "the mirror of it": {
    files: { "udp/a.ts": `import { b } from "../tcp/b.ts";\nb;\n`, "tcp/b.ts": "export const b = 1;\n" },
    found: "udp/a.ts:1: imports tcp/b.ts: udp may import only flow, ffi, net",
  },
  "a dynamic import": {
    files: {
      "cli/a.ts": `export const a = () =>\n  import("../ffi/b.ts");\n`,
      "ffi/b.ts": "export const b = 1;\n",
    },
    found:
      "cli/a.ts:2: imports ffi/b.ts: cli may import only demo, doctor, scratch, control, policy, nft, config, net",
  },
  "a file that is not among those shared": {
    files: { "control/a.ts": `import "../dataplane/main.ts";\n`, "dataplane/main.ts": "export {};\n" },
    found: "control/a.ts:1: imports dataplane/main.ts: control may import only nft, net, config, " +
      "dataplane/protocol.ts, dataplane/stats.ts, dataplane/flow_ring.ts, dataplane/life_memory.ts, " +
      "dataplane/policy_function.ts, upstream/settings.ts, upstream/health_state.ts, upstream/same_way.ts, policy",
  },
  "a package": {
    files: { "tcp/a.ts": `import "@logtape/logtape";\n` },
    found: "tcp/a.ts:1: imports @logtape/logtape: tcp may import nothing from outside the repository",
  },
  "a package that the import map does not know": {
    files: { "cli/a.ts": `import "left-pad";\n` },
    found: "cli/a.ts:1: imports left-pad: cli may import only @std/cli from outside the repository",
  },
  "a test imported by code": {
    files: { "net/a.ts": `import "./b_test.ts";\n`, "net/b_test.ts": "export {};\n" },
    found: "net/a.ts:1: imports net/b_test.ts: a test is imported by tests alone; " +
      "move what both need into a file of its own",
  },
  "test support imported by code": {
    files: { "cli/a.ts": `import "../tests/lab/lab.ts";\n`, "tests/lab/lab.ts": "export {};\n" },
    found:
      "cli/a.ts:1: imports tests/lab/lab.ts: cli may import only demo, doctor, scratch, control, policy, nft, config, net",
  },
  "dlopen outside ffi": {
    files: { "dataplane/a.ts": `// Deno.dlopen\nexport const a = Deno.dlopen("libc.so.6", {});\n` },
    found: "dataplane/a.ts:2: dlopen: only ffi/ calls libc and touches addresses; add a function there",
  },
  "a pointer taken apart": {
    files: { "tcp/a.ts": "const { UnsafePointer } = Deno;\nexport const a = 1;\n" },
    found: "tcp/a.ts:1: UnsafePointer: only ffi/ calls libc and touches addresses; add a function there",
  },
  "a program started outside the seam": {
    files: { "nft/apply.ts": `export const a = () => new Deno.Command("nft");\n` },
    found: "nft/apply.ts:1: Deno.Command: only nft/exec.ts starts programs; go through its seam",
  },
  "a program started by way of node": {
    files: { "control/a.ts": `import { spawn } from "node:child_process";\nspawn;\n` },
    found:
      "control/a.ts:1: imports node:child_process: only nft/exec.ts starts programs; go through its seam",
  },
  "more of the tests than the demo's stage": {
    files: { "demo/a.ts": `import "../tests/lab/host.ts";\n`, "tests/lab/host.ts": "export const h = 1;\n" },
    found: "demo/a.ts:1: imports tests/lab/host.ts: demo may import only control, net, tests/lab/mod.ts, " +
      "tests/lab/client_main.ts, tests/lab/datagram_client_main.ts, tests/lab/datagram_server_main.ts, tests/lab/server_main.ts",
  },
  "await on the packet path": {
    files: { "udp/a.ts": `/** await */\nexport const a = "async";\nawait 1;\n` },
    found:
      "udp/a.ts:3: await: the packet path has no promises; return a value, or be a generator task of the reactor",
  },
  "a promise type on the packet path": {
    files: { "tcp/a.ts": "export type A =\n  Promise<void>;\n" },
    found:
      "tcp/a.ts:2: Promise: the packet path has no promises; return a value, or be a generator task of the reactor",
  },
  "a folder without a rule": {
    files: { "plugins/a.ts": "export const a = 1;\n" },
    found:
      "plugins/a.ts:1: plugins/: no rule for this folder; say in FOLDERS of tools/check_imports.ts what it may import",
  },
};

for (const [name, { files, found }] of Object.entries(BREACHES)) {
  Deno.test(`checkImports: ${name}`, async () => assertEquals(await violationsIn(files), [found]));
}

Deno.test("checkImports: a file that does not parse is an error, not a pass", async () => {
  await assertRejects(() => violationsIn({ "net/a.ts": "import {{ from 1;\n" }), Error, "net/a.ts");
});

Deno.test("checkImports: in the order of files and lines", async () => {
  const found = await violationsIn({
    "tcp/b.ts": "export const f = async () => {};\n",
    "tcp/a.ts": `export const f = async () => {};\nexport const g = async () => {};\n`,
  });
  assertEquals(found.map((text) => text.split(": ")[0]), ["tcp/a.ts:1", "tcp/a.ts:2", "tcp/b.ts:1"]);
});
