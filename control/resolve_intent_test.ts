import {
  ConfigError,
  type ConfigIssue,
  DEFAULT_SIDECAR,
  defaultRunConfig,
  RESOLV_CONF,
  type RunConfig,
  SELECT_ALL,
  type SelectorConfig,
  sidecarRunConfig,
} from "../config/mod.ts";
import { assertEquals, assertRejects } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { AccountIds, parseAccountIds } from "./account_ids.ts";
import { parseNameServers } from "./list_files.ts";
import { intentSources, resolveIntent } from "./resolve_intent.ts";

const INTERFACES = ["lo", "eth0", "br-b", "br-a", "docker0"];

function local(change: Partial<SelectorConfig>): RunConfig {
  return { ...defaultRunConfig(), local: true, select: { ...SELECT_ALL, ...change } };
}

async function issuesOf(config: RunConfig): Promise<[string, string][]> {
  const error = await assertRejects(() => resolveIntent(config, INTERFACES), ConfigError);
  return error.issues.map((issue) => [issue.path, issue.found]);
}

/** A folder with these files, gone after `use`. */
async function withFiles(
  files: Record<string, string>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${folder}/${name}`, text);
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("resolveIntent: a plain gateway needs nothing of the host", async () => {
  const intent = await resolveIntent({ ...defaultRunConfig(), from: ["eth7"], workers: 2 }, []);
  assertEquals(intent, intentWith({ udp: "tproxy", udpWorkers: 2, from: ["eth7"] }));
});

Deno.test("resolveIntent: patterns mean the interfaces there are, less those excluded", async () => {
  const from = async (...patterns: string[]) =>
    (await resolveIntent({ ...defaultRunConfig(), from: patterns }, INTERFACES)).from;
  assertEquals(await from("br-*"), ["br-a", "br-b"]);
  assertEquals(await from("eth9", "br-*", "br-a"), ["eth9", "br-a", "br-b"]);
  assertEquals(await from("*"), ["br-a", "br-b", "docker0", "eth0"]);
  const kept = await resolveIntent(
    { ...defaultRunConfig(), from: ["*"], excludeFrom: ["docker*", "br-b"], source: "keep" },
    INTERFACES,
  );
  assertEquals(kept.from, ["br-a", "eth0"]);
  assertEquals(kept.otherInterfaces, ["br-b", "docker0"]);
});

Deno.test("resolveIntent: an upstream that keeps clients' addresses takes the rules for them, but of a pod", async () => {
  const kept = {
    kind: "direct",
    name: "kept",
    source: "keep",
    interface: null,
    mark: 0,
    dscp: null,
  } as const;
  const sources = async (config: RunConfig) => {
    const changed = { ...config, upstreams: [...config.upstreams, kept] };
    const { source, otherInterfaces } = await resolveIntent(changed, INTERFACES);
    return [source, otherInterfaces, intentSources(changed).interfaces];
  };
  const others = ["br-b", "br-a", "docker0"];
  assertEquals(await sources({ ...defaultRunConfig(), from: ["eth0"] }), ["keep", others, true]);
  assertEquals(await sources(sidecarRunConfig()), ["own", [], false]);
});

Deno.test("resolveIntent: a pattern that means nothing is refused, since none named means all", async () => {
  assertEquals(await issuesOf({ ...defaultRunConfig(), from: ["wg*"] }), [[
    "--from",
    "no interface that fits wg*",
  ]]);
  assertEquals(await issuesOf({ ...defaultRunConfig(), from: ["br-*"], excludeFrom: ["b*"] }), [
    ["--from, --exclude-from", "br-a, br-b, all of them excluded"],
  ]);
  assertEquals(await issuesOf(local({ outgoing: { include: ["wg*"], exclude: [] } })), [[
    "--to",
    "no interface that fits wg*",
  ]]);
  const excluded = await resolveIntent(
    local({ outgoing: { include: [], exclude: ["wg*", "eth*"] } }),
    INTERFACES,
  );
  assertEquals(excluded.select.outgoing, { include: [], exclude: ["eth0"] });
});

Deno.test("resolveIntent: prefixes of flags and files become one list", async () => {
  await withFiles(
    { "a": "192.0.2.128/25 # half\n2001:db8::/33\n", "b": "\n2001:db8:8000::/33\r\n" },
    async (folder) => {
      const { select } = await resolveIntent(local({
        destinations: {
          include: [],
          exclude: ["192.0.2.0/25", "192.0.2.7"],
          includeFiles: [],
          excludeFiles: [`${folder}/a`, `${folder}/b`],
        },
        tcpPorts: { include: [{ first: 80, last: 80 }, { first: 81, last: 90 }], exclude: [] },
      }));
      assertEquals(select.destinations, { include: [], exclude: ["192.0.2.0/24", "2001:db8::/32"] });
      assertEquals(select.tcpPorts.include, [{ first: 80, last: 90 }]);
    },
  );
});

Deno.test("resolveIntent: all that cannot be resolved is named at once, files with their lines", async () => {
  const bad = Array.from({ length: 12 }, (_, i) => `host${i}.example`).join("\n");
  await withFiles({ "bad": `192.0.2.0/24\n${bad}\n`, "empty": "# none\n" }, async (folder) => {
    const file = (name: string) => `${folder}/${name}`;
    const issues = await issuesOf({
      ...local({
        destinations: {
          include: [],
          exclude: [],
          includeFiles: [file("empty")],
          excludeFiles: [file("bad")],
        },
        sources: { include: [], exclude: [], includeFiles: [file("missing")], excludeFiles: [] },
        uids: { include: [{ name: "nobody-of-that-name" }], exclude: [] },
        gids: { include: [], exclude: [{ name: "no-such-group" }] },
      }),
      from: ["wg*"],
    });
    assertEquals(issues.map(([path]) => path), [
      "--from",
      "--include-cidr-file",
      ...Array(11).fill("--exclude-cidr-file"),
      "--include-source-file",
      "--include-uid",
      "--exclude-gid",
    ]);
    assertEquals(issues[1]![1], `no prefix in ${file("empty")}`);
    assertEquals(issues[2]![1], `${file("bad")}:2: "host0.example"`);
    assertEquals(issues[12]![1], `${file("bad")}: 2 more lines of that kind`);
    assertEquals(issues[13]![1].startsWith(`${file("missing")}: No such file`), true, issues[13]![1]);
    assertEquals(issues[14]![1], '"nobody-of-that-name"');
  });
});

Deno.test("resolveIntent: a list is a regular file of a size that lists have", async () => {
  await withFiles({ big: "" }, async (folder) => {
    // A hole: it takes no space.
    await Deno.truncate(`${folder}/big`, 64 * 2 ** 20 + 1);
    for (const file of ["/dev/zero", folder, `${folder}/big`]) {
      const filter = { include: [], exclude: [], includeFiles: [], excludeFiles: [file] };
      const [issue] = await issuesOf(local({ destinations: filter }));
      assertEquals(issue?.[1], `${file}: ${file.endsWith("big") ? "65 MiB" : "no regular file"}`);
    }
  });
});

Deno.test("resolveIntent: a sidecar", async () => {
  const { sidecar, tcp, udp, port } = await resolveIntent({
    ...sidecarRunConfig(),
    sidecar: {
      ...DEFAULT_SIDECAR,
      outboundPorts: [{ first: 81, last: 81 }, { first: 80, last: 80 }],
      proxyUids: [{ name: "root" }, { first: 1337, last: 1337 }],
      virtualInterfaces: ["br-*"],
      excludeInterfaces: ["docker*", "net1"],
      dns: { port: 15053, servers: "all" },
    },
  }, INTERFACES);
  assertEquals([tcp, udp, port], ["redirect", "off", 15001]);
  assertEquals(sidecar, {
    inbound: "redirect",
    inboundPort: 15006,
    inboundPorts: { include: [], exclude: [] },
    outboundPorts: [{ first: 80, last: 81 }],
    proxyUids: [{ first: 0, last: 0 }, { first: 1337, last: 1337 }],
    proxyGids: [],
    excludeInterfaces: ["docker0", "net1"],
    virtualInterfaces: ["br-a", "br-b"],
    dns: { port: 15053, servers: [] },
    dropInvalid: false,
  });
});

Deno.test("intentSources: files once, and interfaces where others would change the intent", () => {
  assertEquals(intentSources({ ...defaultRunConfig(), from: ["eth1"] }), { files: [], interfaces: false });
  assertEquals(intentSources({ ...defaultRunConfig(), from: ["eth*"] }).interfaces, true);
  assertEquals(intentSources({ ...defaultRunConfig(), from: ["eth1"], source: "keep" }).interfaces, true);
  assertEquals(intentSources(local({ outgoing: { include: [], exclude: ["wg*"] } })).interfaces, true);
  const filter = { include: [], exclude: [], includeFiles: ["/a"], excludeFiles: ["/b", "/a"] };
  assertEquals(intentSources(local({ destinations: filter, sources: filter })).files, ["/a", "/b"]);
  const dns = (servers: "all" | "system") =>
    intentSources({ ...sidecarRunConfig(), sidecar: { ...DEFAULT_SIDECAR, dns: { port: 15053, servers } } });
  assertEquals(dns("system"), { files: [RESOLV_CONF], interfaces: false });
  assertEquals(dns("all").files, []);
});

Deno.test("parseAccountIds: passwd and group, the first of two lines counts", () => {
  const text = [
    "root:x:0:0:root:/root:/bin/sh",
    "# comment:x:7:",
    "www-data:x:33:33::/var/www:",
    "root:x:9:9::/:",
    "wheel:x:10:a,b",
    "short:x:11",
    "+::::::",
    "broken:x:y:",
  ].join("\n");
  assertEquals([...parseAccountIds(text)], [["root", 0], ["www-data", 33], ["wheel", 10], ["short", 11]]);
  assertEquals([...parseAccountIds("")], []);
});

Deno.test("AccountIds: a host without the file knows no names, but every number", () => {
  const ids = new AccountIds(() => {
    throw new Deno.errors.NotFound();
  });
  const issues: ConfigIssue[] = [];
  const ranges = ids.resolve(
    "user",
    "--include-uid",
    [{ name: "root" }, { first: 5, last: 6 }],
    issues as never,
  );
  assertEquals(ranges, [{ first: 5, last: 6 }]);
  assertEquals(issues.map(({ path, found }) => [path, found]), [["--include-uid", '"root"']]);
});

Deno.test("parseNameServers: as resolv.conf has them, each once, without zones", () => {
  const text = [
    "# nameserver 192.0.2.1",
    "nameserver 192.0.2.53",
    "  nameserver\t2001:DB8::53 ",
    "nameserver fe80::1%eth0",
    "nameserver 192.0.2.53",
    "nameserver dns.example",
    "options ndots:5",
  ].join("\n");
  assertEquals(parseNameServers(text), ["192.0.2.53", "2001:db8::53", "fe80::1"]);
});
