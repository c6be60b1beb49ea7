import { assertEquals } from "../tests/assert.ts";
import { FakeExec } from "./fake_exec.ts";
import type { Exec } from "./exec.ts";
import { type HostChange, HostChanges, parseChange } from "./host_changes.ts";

Deno.test("parseChange: who changed nft rules", () => {
  const cases: [string, HostChange | undefined][] = [
    ["# new generation 4 by process 23744 (nft)", { what: "rules", by: "process 23744 (nft)" }],
    [
      "# new generation 5 by process 7 (iptables-nft (x))",
      { what: "rules", by: "process 7 (iptables-nft (x))" },
    ],
    ["# new generation 5", { what: "rules" }],
    ["add rule inet x c counter packets 0 bytes 0", undefined],
    ["[RULE]Deleted 90:\tfrom all fwmark 0x1/0x1 lookup 7873 proto 173", { what: "routes" }],
    ["[ROUTE]Deleted 2 default dev lo table 7873 proto 173 scope 254 ", { what: "routes" }],
    ["[ROUTE]198.51.100.0/24 via 192.0.2.1 dev eth0 table 78730 proto 12", undefined],
    ["[ROUTE]198.51.100.0/24 via 192.0.2.1 dev eth0 proto 12", undefined],
    ["[LINK]4: lan0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500", { what: "links" }],
    ["[ADDR]Deleted 4: lan0    inet 192.0.2.1/24 scope 0 lan0", { what: "links" }],
    ["    link/ether 02:00:5e:10:00:01 brd ff:ff:ff:ff:ff:ff", undefined],
    ["", undefined],
  ];
  for (const [line, change] of cases) assertEquals(parseChange(line, 7873), change, line);
});

Deno.test("HostChanges: a child that cannot be started is tried again, until it is closed", async () => {
  const again = Promise.withResolvers<void>();
  let started = 0, refused = 0;
  const exec = new FakeExec();
  exec.watch = () => {
    if (started === 1 && refused === 0) {
      refused++;
      throw new Error("Too many open files (os error 24)");
    }
    started++;
    if (started === 2) again.resolve();
    const ended = started === 1 ? Promise.resolve("SIGKILL") : new Promise<string>(() => {});
    return { ended, close: () => Promise.resolve() };
  };
  const changes = new HostChanges({ exec, rules: false, table: 7873, onChange: () => {} });
  await again.promise;
  await changes.close();
  assertEquals([started, refused], [2, 1]);
});

Deno.test("HostChanges: who has changed rules is not told of what we have started", async () => {
  const changes: HostChange[] = [];
  const fake = new FakeExec();
  let tell: (line: string) => void = () => {};
  const exec: Exec = {
    run: (argv, options) => fake.run(argv, options),
    open: (argv) => fake.open(argv),
    watch: (_argv, onLine) => {
      tell = onLine;
      return fake.watch();
    },
    hasStarted: (pid) => pid === 7,
  };
  const onChange = (change: HostChange) => changes.push(change);
  const watched = new HostChanges({ exec, rules: false, table: 7873, onChange });
  tell("# new generation 4 by process 7 (nft)");
  tell("# new generation 5 by process 77 (nft)");
  await watched.close();
  assertEquals(changes, [{ what: "rules" }, { what: "rules", by: "process 77 (nft)" }]);
});
