import type { PatternRule } from './pattern.ts'

const date =
  // 29 February is left out, since it depends on the year.
  '[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))'
const time =
  '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
const hex = '[0-9a-fA-F]'
const uuid = (version: string) =>
  `${hex}{8} "-" ${hex}{4} "-" ${version} ${hex}{3} "-" [89abAB] ${hex}{3} "-" ${hex}{12}`
const octet = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9] [0-9] | [0-9])'
const label = '[a-zA-Z0-9] ([a-zA-Z0-9-]{0,61} [a-zA-Z0-9])?'
/** Of labels of 253 characters at most. */
const host = `[a-zA-Z0-9] ([a-zA-Z0-9-]{0,40} [a-zA-Z0-9])? ("." [a-zA-Z0-9] ([a-zA-Z0-9-]{0,40} [a-zA-Z0-9])?){0,4}`

/**
 * Rules of the formats that a grammar can hold to, each a part of what the format allows, with the lengths of their texts.
 * All other formats are annotations.
 */
export const formats: Readonly<Record<string, PatternRule | undefined>> = {
  date: { rule: date, least: 10, most: 10 },
  time: { rule: time, least: 9, most: 21 },
  'date-time': { rule: `${date} "T" ${time}`, least: 20, most: 32 },
  uuid: { rule: uuid(hex), least: 36, most: 36 },
  ...Object.fromEntries(
    [1, 3, 4, 5, 6, 7, 8].map((version) => [`uuid${version}`, { rule: uuid(`"${version}"`), least: 36, most: 36 }]),
  ),
  email: {
    rule: `[A-Za-z0-9_+]{1,40} ("." [A-Za-z0-9_+]{1,20})? "@" (${label} "."){1,2} [A-Za-z]{2,20}`,
    least: 6,
    most: 211,
  },
  hostname: { rule: host, least: 1, most: 214 },
  ipv4: { rule: `${octet} ("." ${octet}){3}`, least: 7, most: 15 },
  ipv6: { rule: `${hex}{1,4} (":" ${hex}{1,4}){7}`, least: 15, most: 39 },
  uri: {
    rule: `"http" "s"? "://" ${host} (":" [1-9] [0-9]{1,3})? ("/" [A-Za-z0-9._~-]{0,60}){0,20} ("?" [A-Za-z0-9._~=&-]{0,300})? ("#" [A-Za-z0-9._~-]{0,60})?`,
    least: 8,
    most: 1810,
  },
  duration: {
    rule: '"P" ([0-9]{1,4} "W" | d | (d)? "T" t)'
      .replaceAll(
        'd',
        '([0-9]{1,4} "Y" ([0-9]{1,4} "M")? ([0-9]{1,4} "D")? | [0-9]{1,4} "M" ([0-9]{1,4} "D")? | [0-9]{1,4} "D")',
      )
      .replaceAll(
        't',
        '([0-9]{1,4} "H" ([0-9]{1,4} "M")? ([0-9]{1,4} "S")? | [0-9]{1,4} "M" ([0-9]{1,4} "S")? | [0-9]{1,4} "S")',
      ),
    least: 3,
    most: 31,
  },
}
