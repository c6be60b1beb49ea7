import {
  BUILT_IN_UPSTREAMS,
  ConfigError,
  DEFAULT_SIDECAR,
  defaultRunConfig,
  type DirectConfig,
} from "../config/mod.ts";
import { assertEquals, assertThrows } from "../tests/assert.ts";
import { checkOwner, mayMark, wantsNetAdmin } from "./preflight.ts";
import { StartError } from "./start_error.ts";

const range = (first: number, last = first) => [{ first, last }];

Deno.test("mayMark: CAP_NET_ADMIN, or CAP_NET_RAW where the kernel takes it", () => {
  const status = (bit: number) => `CapEff:\t${(1n << BigInt(bit)).toString(16).padStart(16, "0")}\n`;
  const admin = status(12), raw = status(13), bind = status(10);
  assertEquals(["4.19.0", "5.16.20", "6.1.0-18-amd64"].map((release) => mayMark(admin, release)), [
    true,
    true,
    true,
  ]);
  assertEquals(["4.19.0", "5.16.20", "5.17.0-rc1", "6.1.0"].map((release) => mayMark(raw, release)), [
    false,
    false,
    true,
    true,
  ]);
  assertEquals(mayMark(bind, "6.1.0"), false);
});

Deno.test("wantsNetAdmin: a plain listener needs nothing, a direct upstream may need it for its sockets", () => {
  const direct: DirectConfig = {
    kind: "direct",
    name: "wan",
    source: null,
    interface: "wan0",
    mark: 0,
    dscp: 46,
  };
  const wants = (change: Partial<DirectConfig>, marks = false) =>
    wantsNetAdmin({
      ...defaultRunConfig(),
      rules: "none",
      tcp: "redirect",
      udp: "off",
      upstreams: [...BUILT_IN_UPSTREAMS, { ...direct, ...change }],
    }, marks);
  assertEquals([wants({}), wants({ source: "own" }), wants({ mark: 64 }, true)], Array(3).fill(undefined));
  assertEquals(wants({ source: "keep" }, true), "to keep client addresses (IP_TRANSPARENT)");
  assertEquals(wants({ mark: 64 }), "for the marks of direct upstreams (SO_MARK)");
});

Deno.test("checkOwner: a proxy that cannot be marked runs as somebody who is exempt", () => {
  checkOwner({ ...DEFAULT_SIDECAR, proxyUids: range(1337) }, 1337, 0);
  checkOwner({ ...DEFAULT_SIDECAR, proxyUids: range(1000, 2000) }, 1500, 0);
  checkOwner({ ...DEFAULT_SIDECAR, proxyGids: range(1337) }, 0, 1337);
  checkOwner({ ...DEFAULT_SIDECAR, proxyUids: [{ name: "root" }] }, 0, 5);
});

Deno.test("checkOwner: anybody else is told how to become one", () => {
  for (
    const sidecar of [DEFAULT_SIDECAR, { ...DEFAULT_SIDECAR, proxyUids: range(1336), proxyGids: range(1337) }]
  ) {
    const error = assertThrows(() => checkOwner(sidecar, 1337, 1336), StartError);
    assertEquals([error.code, error.hint?.includes("--proxy-uid 1337")], ["not-permitted", true]);
  }
  assertThrows(
    () => checkOwner({ ...DEFAULT_SIDECAR, proxyUids: [{ name: "nobody-at-all" }] }, 0, 0),
    ConfigError,
  );
});
