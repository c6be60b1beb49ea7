/**
 * Fails when a file imports, or uses, what its folder must not: the table "Who may import whom" of
 * docs/architecture.md, enforced.
 *
 *     deno run -A tools/check_imports.ts [ROOT]
 *
 * Imports come from Deno's own module graph (`deno info`), which also knows type-only, re-exported and dynamic ones.
 * Worker entry points named by `new URL(...)` are no imports: that is how the two planes stay apart. The rules on
 * Deno's API are checked in the text, with comments and strings blanked out.
 *
 * @module
 */
import { blankText } from "./blank_text.ts";
import { type Import, listSourceFiles, readImports } from "./module_graph.ts";

interface FolderRule {
  /** Folders, or single files of a folder, that it may import beside its own files. */
  readonly imports: readonly string[];
  /** What it may import from outside the repository: names of deno.json's import map, and `node:` modules. */
  readonly packages: readonly string[];
  /** Called from the packet path, where a promise costs more than the packet. */
  readonly synchronous?: true;
}

/** Every folder of code. `.` stands for the files at the top. */
const FOLDERS: Readonly<Record<string, FolderRule>> = {
  net: { imports: [], packages: [] },
  ffi: { imports: ["net"], packages: [] },
  flow: { imports: ["ffi", "net"], packages: [], synchronous: true },
  tcp: { imports: ["flow", "ffi", "net"], packages: [], synchronous: true },
  udp: { imports: ["flow", "ffi", "net"], packages: [], synchronous: true },
  dns: { imports: ["flow", "ffi", "net"], packages: [], synchronous: true },
  upstream: { imports: ["flow", "ffi", "net"], packages: [], synchronous: true },
  // Compiled by the control plane, asked by the workers.
  policy: { imports: ["net"], packages: [], synchronous: true },
  nft: { imports: ["net"], packages: [] },
  config: { imports: ["net"], packages: ["zod", "toml-eslint-parser"] },
  dataplane: {
    imports: ["tcp", "udp", "dns", "upstream", "policy", "flow", "ffi", "net"],
    packages: ["node:worker_threads"],
  },
  control: {
    imports: [
      "nft",
      "net",
      "config",
      "dataplane/protocol.ts",
      "dataplane/stats.ts",
      "dataplane/flow_ring.ts",
      "dataplane/life_memory.ts",
      "dataplane/policy_function.ts",
      "upstream/settings.ts",
      "upstream/health_state.ts",
      "upstream/same_way.ts",
      "policy",
    ],
    packages: ["@logtape/logtape", "node:dns"],
  },
  // Its own program in a namespace sends packets; what it sends them through is nft's matter.
  scratch: { imports: ["nft", "ffi", "net"], packages: [] },
  // Its stage is the tests' lab, by its public face and the programs that the lab's hosts run.
  demo: {
    imports: [
      "control",
      "net",
      "tests/lab/mod.ts",
      "tests/lab/client_main.ts",
      "tests/lab/datagram_client_main.ts",
      "tests/lab/datagram_server_main.ts",
      "tests/lab/server_main.ts",
    ],
    packages: [],
  },
  // Its self-test is the demo's proxy on the tests' lab.
  doctor: {
    imports: [
      "demo/judge.ts",
      "demo/ourselves.ts",
      "demo/proxy.ts",
      "tests/lab/mod.ts",
      "control",
      "nft",
      "config",
      "net",
    ],
    packages: [],
  },
  cli: {
    imports: ["demo", "doctor", "scratch", "control", "policy", "nft", "config", "net"],
    packages: ["@std/cli"],
  },
  // Its examples are other people's programs, which have nothing but the library.
  docs: { imports: ["."], packages: [] },
  ".": { imports: ["cli", "control", "nft", "config", "net"], packages: [] },
};

/** Folders whose files, like the `*_test.ts` beside the code, may import and use anything. */
const UNRULED_FOLDERS: readonly string[] = ["tests", "bench", "tools"];

interface ApiRule {
  readonly uses: RegExp;
  /** Modules that give the same thing by another name. */
  readonly packages: readonly string[];
  /** Paths that may use it, by their beginning. */
  readonly allowedIn: readonly string[];
  readonly why: string;
}

const API_RULES: readonly ApiRule[] = [
  {
    uses: /\b(?:dlopen|UnsafePointer|UnsafePointerView|UnsafeCallback|UnsafeFnPointer)\b/g,
    packages: [],
    allowedIn: ["ffi/"],
    why: "only ffi/ calls libc and touches addresses; add a function there",
  },
  {
    uses: /\bDeno\s*\??\.\s*Command\b|\{[^{}]*\bCommand\b[^{}]*\}\s*=\s*Deno\b/g,
    packages: ["node:child_process"],
    allowedIn: ["nft/exec.ts"],
    why: "only nft/exec.ts starts programs; go through its seam",
  },
];

const SYNCHRONOUS_RULE = {
  uses: /\b(?:await|async|Promise)\b/g,
  why: "the packet path has no promises; return a value, or be a generator task of the reactor",
};

/** One breach. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly found: string;
  readonly why: string;
}

/** Checks every source file under `root`. */
export async function checkImports(root: string): Promise<Violation[]> {
  const files = await listSourceFiles(root);
  const violations: Violation[] = [];
  const ruled: string[] = [];
  for (const file of files) {
    const folder = folderOf(file);
    if (UNRULED_FOLDERS.includes(folder) || file.endsWith("_test.ts")) continue;
    if (FOLDERS[folder] === undefined) violations.push(unknownFolder(file, folder));
    else ruled.push(file);
  }
  const imports = await readImports(root, ruled);
  for (const file of ruled) {
    const rule = FOLDERS[folderOf(file)]!;
    for (const found of imports.get(file) ?? []) violations.push(...checkImport(file, rule, found));
    violations.push(...checkUses(file, rule, await Deno.readTextFile(`${root}/${file}`)));
  }
  return violations.sort((a, b) => a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line);
}

/** Text of a violation: `file:line: what was found: what to do`. */
export function formatViolation({ file, line, found, why }: Violation): string {
  return `${file}:${line}: ${found}: ${why}`;
}

function folderOf(path: string): string {
  const slash = path.indexOf("/");
  return slash < 0 ? "." : path.slice(0, slash);
}

function unknownFolder(file: string, folder: string): Violation {
  const why = "no rule for this folder; say in FOLDERS of tools/check_imports.ts what it may import";
  return { file, line: 1, found: `${folder}/`, why };
}

function* checkImport(
  file: string,
  rule: FolderRule,
  { line, specifier, path }: Import,
): Generator<Violation> {
  const found = `imports ${path ?? specifier}`;
  const folder = folderOf(file);
  if (path === undefined) {
    const api = API_RULES.find(({ packages }) => packages.includes(specifier));
    if (api !== undefined) {
      if (!allows(api, file)) yield { file, line, found, why: api.why };
    } else if (!rule.packages.some((name) => specifier === name || specifier.startsWith(`${name}/`))) {
      yield {
        file,
        line,
        found,
        why: `${folder} may import ${listing(rule.packages)} from outside the repository`,
      };
    }
  } else if (path.endsWith("_test.ts")) {
    yield {
      file,
      line,
      found,
      why: "a test is imported by tests alone; move what both need into a file of its own",
    };
  } else if (
    folderOf(path) !== folder && !rule.imports.some((may) => may === path || may === folderOf(path))
  ) {
    yield { file, line, found, why: `${folder} may import ${listing(rule.imports)}` };
  }
}

function* checkUses(file: string, rule: FolderRule, text: string): Generator<Violation> {
  const code = blankText(text);
  const rules = API_RULES.filter((api) => !allows(api, file));
  for (const { uses, why } of rule.synchronous ? [...rules, SYNCHRONOUS_RULE] : rules) {
    for (const match of code.matchAll(uses)) {
      yield { file, line: code.slice(0, match.index).split("\n").length, found: match[0], why };
    }
  }
}

function allows(api: ApiRule, file: string): boolean {
  return api.allowedIn.some((start) => file.startsWith(start));
}

function listing(names: readonly string[]): string {
  return names.length === 0 ? "nothing" : `only ${names.join(", ")}`;
}

if (import.meta.main) {
  const root = Deno.args[0] ?? new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  const violations = await checkImports(root);
  for (const violation of violations) console.error(formatViolation(violation));
  Deno.exit(violations.length === 0 ? 0 : 1);
}
