import { assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "../tests/assert.ts";
import { archOf, UnsupportedPlatformError } from "./arch.ts";

Deno.test("archOf: the layout of epoll_event on each architecture", () => {
  const x86 = archOf({ os: "linux", arch: "x86_64" }), arm = archOf({ os: "linux", arch: "aarch64" });
  assertEquals([x86.epollEventWords, x86.epollDataWord], [3, 1]);
  assertEquals([arm.epollEventWords, arm.epollDataWord], [4, 2]);
});

Deno.test("archOf: any other platform is refused, with what was found and what is wanted", () => {
  for (
    const build of [
      { os: "darwin", arch: "aarch64" },
      { os: "windows", arch: "x86_64" },
      { os: "linux", arch: "riscv64" },
    ]
  ) {
    const error = assertThrows(() => archOf(build));
    assertInstanceOf(error, UnsupportedPlatformError);
    assertStringIncludes(
      error.message,
      `${build.os} on ${build.arch} found, linux on x86_64 or aarch64 wanted`,
    );
  }
});
