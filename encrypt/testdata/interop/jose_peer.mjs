// Does with jose what the Go test asks for: reads one JSON document of jobs
// from standard input and writes one with the results, in the same order, to
// standard output.
import { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  CompactEncrypt, CompactSign, compactDecrypt, compactVerify, exportJWK, generateKeyPair, importJWK,
} from 'jose'

// Modules have no crypto of their own in Node 18, which Debian 12 has.
globalThis.crypto ??= webcrypto

const text = (bytes) => new TextDecoder().decode(bytes)
const bytes = (text) => new TextEncoder().encode(text)
const pair = (alg) => generateKeyPair(alg, { extractable: true })
const key = (job) => importJWK(job.key, job.alg)

const work = {
  generate: async (job) => ({ key: await exportJWK((await pair(job.alg)).privateKey) }),
  open: async (job) => ({ text: text((await compactDecrypt(job.compact, await key(job))).plaintext) }),
  seal: async (job) => ({
    text: await new CompactEncrypt(bytes(job.payload))
      .setProtectedHeader({ alg: job.alg, enc: job.enc })
      .encrypt(await key(job)),
  }),
  verify: async (job) => ({ text: text((await compactVerify(job.compact, await key(job))).payload) }),
  sign: async (job) => {
    const { privateKey, publicKey } = await pair(job.alg)
    const jws = await new CompactSign(bytes(job.payload)).setProtectedHeader({ alg: job.alg }).sign(privateKey)
    return { key: await exportJWK(publicKey), text: jws }
  },
}

const results = []
for (const job of JSON.parse(readFileSync(0, 'utf8'))) {
  results.push(await work[job.do](job))
}
process.stdout.write(JSON.stringify(results))
