/**
 * Every kernel constant, error number and struct layout that ffi/ relies on, against the C headers of the machine.
 *
 * The lists come from the modules themselves, so a new constant is checked without being added here.
 *
 * @module
 */
import {
  archOf,
  CMSGHDR_BYTES,
  cmsgSpace,
  errnoName,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
} from "../../ffi/mod.ts";
import * as constants from "../../ffi/constants.ts";
import * as errnos from "../../ffi/errno.ts";
import { assert, assertEquals, assertGreater } from "../assert.ts";

const HEADERS = [
  "errno.h",
  "fcntl.h",
  "stddef.h",
  "stdio.h",
  "sys/epoll.h",
  "sys/ioctl.h",
  "sys/resource.h",
  "sys/socket.h",
  "sys/uio.h",
  "time.h",
  "netinet/in.h",
  "netinet/tcp.h",
  "netinet/udp.h",
  "linux/errqueue.h",
  "linux/netfilter_ipv4.h",
  "linux/netfilter_ipv6/ip6_tables.h",
  "linux/netlink.h",
  "linux/sockios.h",
];

const TIMEOUT_MS = 20_000;

/** Compiles and runs a program that prints one line `NAME VALUE` for each expression. */
async function evaluateInC(expressions: Readonly<Record<string, string>>): Promise<Map<string, number>> {
  const folder = await Deno.makeTempDir();
  try {
    const source = [
      "#define _GNU_SOURCE",
      ...HEADERS.map((header) => `#include <${header}>`),
      "int main(void) {",
      ...Object.entries(expressions).map(([name, c]) => `  printf("${name} %lld\\n", (long long)(${c}));`),
      "  return 0;",
      "}",
    ].join("\n");
    await Deno.writeTextFile(`${folder}/probe.c`, source);
    await run("cc", "-Wall", "-Werror", "-o", `${folder}/probe`, `${folder}/probe.c`);
    const lines = (await run(`${folder}/probe`)).trim().split("\n");
    return new Map(lines.map((line) => {
      const [name, value] = line.split(" ");
      return [name!, Number(value)];
    }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(program: string, ...args: string[]): Promise<string> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const { success, stdout, stderr } = await new Deno.Command(program, { args, signal, stdin: "null" })
    .output();
  const decoder = new TextDecoder();
  assert(success, `${program}: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}

function hasCompiler(): boolean {
  try {
    return new Deno.Command("cc", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

const ignore = !hasCompiler();
const unless = ignore ? " (needs cc)" : "";

function numbersOf(module: Readonly<Record<string, unknown>>): [string, number][] {
  return Object.entries(module).filter((entry): entry is [string, number] => typeof entry[1] === "number");
}

Deno.test({ name: `layout: constants are those of the C headers${unless}`, ignore }, async () => {
  const wanted = numbersOf(constants);
  assertGreater(wanted.length, 40);
  const found = await evaluateInC(Object.fromEntries(wanted.map(([name]) => [name, name])));
  for (const [name, value] of wanted) assertEquals(value, found.get(name)! | 0, name);
});

Deno.test({ name: `layout: error numbers are those of the C headers${unless}`, ignore }, async () => {
  const named = Array.from({ length: 200 }, (_, errno) => [errnoName(errno), errno] as [string, number])
    .filter(([name]) => /^E[A-Z]/.test(name));
  const wanted = [...numbersOf(errnos), ...named];
  assertGreater(named.length, 40);
  const found = await evaluateInC(Object.fromEntries(wanted.map(([name]) => [name, name])));
  for (const [name, value] of wanted) assertEquals(value, found.get(name), name);
});

Deno.test({ name: `layout: structs are those of the C headers${unless}`, ignore }, async () => {
  const { epollEventWords, epollDataWord } = archOf();
  const size = (type: string) => `sizeof(${type})`;
  const at = (type: string, member: string) => `offsetof(struct ${type}, ${member})`;
  const layout: [c: string, wanted: number][] = [
    [size("struct sockaddr_in"), SOCKADDR_IN_BYTES],
    [at("sockaddr_in", "sin_family"), 0],
    [at("sockaddr_in", "sin_port"), 2],
    [at("sockaddr_in", "sin_addr"), 4],
    [size("struct sockaddr_in6"), SOCKADDR_IN6_BYTES],
    [at("sockaddr_in6", "sin6_family"), 0],
    [at("sockaddr_in6", "sin6_port"), 2],
    [at("sockaddr_in6", "sin6_flowinfo"), 4],
    [at("sockaddr_in6", "sin6_addr"), 8],
    [at("sockaddr_in6", "sin6_scope_id"), 24],
    [size("sa_family_t"), 2],
    [size("socklen_t"), 4],
    [size("struct epoll_event"), 4 * epollEventWords],
    [at("epoll_event", "data"), 4 * epollDataWord],
    [size("struct timespec"), 16],
    [at("timespec", "tv_nsec"), 8],
    [size("struct rlimit"), 16],
    [at("rlimit", "rlim_max"), 8],
    [size("struct linger"), 8],
    [at("linger", "l_linger"), 4],
    [size("struct iovec"), 16],
    [at("iovec", "iov_len"), 8],
    [size("struct msghdr"), 56],
    [at("msghdr", "msg_iov"), 16],
    [at("msghdr", "msg_control"), 32],
    [at("msghdr", "msg_controllen"), 40],
    [at("msghdr", "msg_flags"), 48],
    [size("struct mmsghdr"), 64],
    [at("mmsghdr", "msg_len"), 56],
    [size("struct cmsghdr"), CMSGHDR_BYTES],
    [at("cmsghdr", "cmsg_level"), 8],
    [at("cmsghdr", "cmsg_type"), 12],
    ["(char *)CMSG_DATA((struct cmsghdr *)0) - (char *)0", CMSGHDR_BYTES],
    ...[0, 1, 4, 8, 12, 16, 20, 28].map((
      bytes,
    ): [string, number] => [`CMSG_SPACE(${bytes})`, cmsgSpace(bytes)]),
    ["CMSG_LEN(12)", CMSGHDR_BYTES + 12],
    [size("struct in_pktinfo"), 12],
    [at("in_pktinfo", "ipi_spec_dst"), 4],
    [size("struct in6_pktinfo"), 20],
    [at("in6_pktinfo", "ipi6_addr"), 0],
    [at("in6_pktinfo", "ipi6_ifindex"), 16],
    [size("struct sock_extended_err"), 16],
    [at("sock_extended_err", "ee_errno"), 0],
    [at("sock_extended_err", "ee_origin"), 4],
    [at("sock_extended_err", "ee_type"), 5],
    [at("sock_extended_err", "ee_code"), 6],
    [at("sock_extended_err", "ee_info"), 8],
    ["(char *)SO_EE_OFFENDER((struct sock_extended_err *)0) - (char *)0", 16],
  ];
  const found = await evaluateInC(Object.fromEntries(layout.map(([c], i) => [`e${i}`, c])));
  for (const [i, [c, wanted]] of layout.entries()) assertEquals(found.get(`e${i}`), wanted, c);
});
