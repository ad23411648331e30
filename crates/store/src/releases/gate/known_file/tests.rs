use image::Chip;
use image::build::Build;
use proptest::prelude::*;

use super::*;

fn app() -> Vec<u8> {
    Build { size_bytes: 4096, ..Build::new(Chip::Esp32, "1.0.0") }.bytes()
}

fn of(size: usize, parts: &[(usize, &[u8])], rest: u8) -> Vec<u8> {
    let mut bytes = vec![rest; size];
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    bytes
}

fn elf(machine: u16) -> Vec<u8> {
    of(200, &[(0, b"\x7FELF\x01\x01\x01"), (18, &machine.to_le_bytes())], 0)
}

/// The lookup page of `spiffsgen.py`: the magic is the second last of its numbers.
fn spiffs(size: usize, page: u16, block: usize, with_length: bool) -> Vec<u8> {
    let blocks = u16::try_from(size / block).expect("few");
    let magic = 0x0529 ^ page ^ if with_length { blocks } else { 0 };
    of(size, &[(usize::from(page) - 4, &magic.to_le_bytes())], 0xFF)
}

fn nvs() -> Vec<u8> {
    of(0x6000, &[(0, &0xFFFF_FFFE_u32.to_le_bytes()), (4, &[0; 4]), (8, &[0xFE]), (28, &[1, 2, 3, 4])], 0xFF)
}

/// As the Arduino core has it.
fn boot_app0() -> Vec<u8> {
    of(0x2000, &[(0, &1_u32.to_le_bytes()), (28, &0x4743_989A_u32.to_le_bytes())], 0xFF)
}

fn table() -> Vec<u8> {
    let entry = b"\xAA\x50\x01\x02\x00\x90\x00\x00\x00\x60\x00\x00nvs\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    of(0xC00, &[(0, entry), (32, b"\xEB\xEB")], 0xFF)
}

/// What is sent, which kind it is, and words of its sentence.
#[allow(clippy::too_many_lines, reason = "a table")]
fn kinds() -> Vec<(Vec<u8>, Entry, &'static str)> {
    let image = app();
    let hex = hex::encode(&image);
    let spaced = "00000000: e906 0220 0c00 0840 ee00 0000 0900 0000  ... ...@";
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12345\n";
    let csv = "# Name,   Type, SubType, Offset,  Size, Flags\nnvs,      data, nvs,     0x9000,  0x5000,\n";
    let form = "------WebKitFormBoundary7MA4\r\nContent-Disposition: form-data; name=\"file\"; filename=\"firmware.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n";
    let s3 = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
    vec![
        (vec![], file::EMPTY, "it is empty"),
        (vec![0xFF; 0x2000], file::ERASED, "bytes of 0xFF"),
        (vec![0; 100], file::ERASED, "bytes of 0x00"),
        (b"\r\n\r\n<!DOCTYPE html>\n<html lang=\"en\">".to_vec(), file::HTML, "raw file"),
        (b"\xEF\xBB\xBF<HTML><HEAD>".to_vec(), file::HTML, "HTML page"),
        (b"<?xml version=\"1.0\"?><!DOCTYPE html><html>".to_vec(), file::HTML, "HTML page"),
        (b"<!-- cached --><html>".to_vec(), file::HTML, "HTML page"),
        (s3.into(), file::XML, "its code is NoSuchKey"),
        (b"<svg xmlns=\"x\">".to_vec(), file::XML, "XML document, as"),
        (b"{\"message\":\"Not Found\",\"status\":404}".to_vec(), file::JSON, "its message is \"Not Found\""),
        (b"[1,2,".to_vec(), file::JSON, "a JSON document, as"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n\xE9\x06".to_vec(),
            file::HTTP_ANSWER,
            "without its header",
        ),
        ([form.as_bytes(), &image].concat(), file::MULTIPART, "--data-binary"),
        (b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".to_vec(), file::MULTIPART, "form"),
        (lfs.into(), file::LFS_POINTER, "git lfs pull"),
        (b"/annex/objects/SHA256E-s1--aa.bin\n".to_vec(), file::ANNEX_POINTER, "git annex get"),
        (b"\x1F\x8B\x08\x00".to_vec(), file::GZIP, "gunzip"),
        (b"PK\x03\x04\x14\x00".to_vec(), file::ZIP, "artifacts of CI systems"),
        (b"\xFD7zXZ\0\0\x04".to_vec(), file::XZ, "unxz"),
        (b"\x5D\0\0\x80\0\xFF\xFF".to_vec(), file::LZMA, "unlzma"),
        (b"BZh91AY&SY".to_vec(), file::BZIP2, "bunzip2"),
        (b"\x28\xB5\x2F\xFD\x04".to_vec(), file::ZSTD, "unzstd"),
        (b"\x04\x22\x4D\x18\x60".to_vec(), file::LZ4, "unlz4"),
        (b"LZIP\x01".to_vec(), file::LZIP, "lzip -d"),
        (b"\x1F\x9D\x90".to_vec(), file::COMPRESS, "uncompress"),
        (b"\x78\x9C\xED\xC1".to_vec(), file::ZLIB, "zlib"),
        (b"7z\xBC\xAF\x27\x1C\0\x04".to_vec(), file::SEVEN_ZIP, "7z x"),
        (b"Rar!\x1A\x07\x01\0".to_vec(), file::RAR, "unrar"),
        (of(1024, &[(0, b"firmware.bin"), (257, b"ustar\x0000")], 0), file::TAR, "tar -xf"),
        (b"0707010000".to_vec(), file::CPIO, "cpio"),
        (b"!<arch>\nlibapp.a/".to_vec(), file::AR, "library"),
        (elf(94), file::ELF, "an ELF file of one, which"),
        (elf(243), file::ELF, "an ELF file of one, which"),
        (elf(62), file::ELF, "for x86-64, which is no ESP32"),
        (elf(9999), file::ELF, "an ELF file, and"),
        (b"UF2\n\x57\x51\x5D\x9E".to_vec(), file::UF2, "USB drive"),
        (b":020000040000FA\r\n:10000000".to_vec(), file::INTEL_HEX, "Intel HEX"),
        (b"S00600004844521B\r\nS1".to_vec(), file::S_RECORD, "S-record"),
        (b"6QYCIAwACEDuAAAACQAAAAAAAAAAAAAAAAAA\n".to_vec(), file::BASE64, "base64 -d"),
        (b"data:application/octet-stream;base64,6QYC".to_vec(), file::BASE64, "base64 -d"),
        (hex.into_bytes(), file::HEX_DUMP, "xxd -r -p"),
        (spaced.into(), file::HEX_DUMP, "hexadecimal"),
        (
            of(0x4000, &[(0, &[1, 0, 0, 0, 0xF0, 0x0F, 0xFF, 0xF7]), (8, b"littlefs")], 0xFF),
            file::LITTLEFS,
            "buildfs",
        ),
        (of(0x4000, &[(0x1008, b"littlefs")], 0xFF), file::LITTLEFS, "LittleFS"),
        (spiffs(0x16_0000, 256, 4096, true), file::SPIFFS, "SPIFFS"),
        (spiffs(0x1_0000, 256, 4096, false), file::SPIFFS, "SPIFFS"),
        (spiffs(0x10_0000, 512, 8192, true), file::SPIFFS, "SPIFFS"),
        (
            of(0x1_0000, &[(0, b"\xEB\xFE\x90MSDOS5.0"), (54, b"FAT     "), (510, b"\x55\xAA")], 0),
            file::FAT,
            "FAT file system",
        ),
        (of(0x1_0000, &[(0x1000 + 82, b"FAT32"), (0x11FE, b"\x55\xAA")], 0), file::FAT, "FAT file system"),
        (table(), file::PARTITION_TABLE, "partitions.bin"),
        (csv.into(), file::PARTITION_CSV, "partitions.csv"),
        (nvs(), file::NVS, "NVS"),
        (boot_app0(), file::OTADATA, "boot_app0.bin"),
        (b"\xEA\x04\x02\x40\x10\x00\x10\x40".to_vec(), file::ESP8266, "ESP8266"),
        (b"\xEF\xBF\xBD\x06\x02 ".to_vec(), file::MANGLED, "took it for text"),
        (b"\xC3\xA9\x06\x02 ".to_vec(), file::MANGLED, "as binary"),
        (b"BSDIFF40\0".to_vec(), file::PATCH, "(bsdiff)"),
        (b"MZ\x90\0".to_vec(), file::EXECUTABLE, "(Windows)"),
        (b"#!/bin/sh\n".to_vec(), file::EXECUTABLE, "(a script)"),
        (b"%PDF-1.7".to_vec(), file::DOCUMENT, "PDF file"),
        (b"void setup() {\n".to_vec(), file::TEXT, "begins with \"void setup() {\""),
        (b"\xFF\xFEh\0i\0 \0t\0".to_vec(), file::TEXT, "begins with \"hi t\""),
    ]
}

#[test]
fn each_kind_of_file_is_named_with_what_to_send_instead() {
    for (bytes, kind, words) in kinds() {
        let begins = &bytes[..bytes.len().min(16)];
        let cause = known(&bytes).unwrap_or_else(|| panic!("{begins:02x?} is not known"));
        assert!(cause.is(kind), "{begins:02x?} is not {kind:?}, but {cause:?}");
        let sentence = cause.sentence();
        assert!(sentence.contains(words), "{words}: {sentence}");
        assert!(["publish", "send the file"].iter().any(|way| sentence.contains(way)), "{sentence}");
    }
}

#[test]
fn an_image_is_of_no_such_kind() {
    for chip in [Chip::Esp32, Chip::Esp32S3, Chip::Esp32C3, Chip::Esp32C6] {
        let image = Build { size_bytes: 100_000, ..Build::new(chip, "1.0.0") }.bytes();
        assert_eq!(known(&image), None, "{chip:?}");
        assert_eq!(known(&image[..1000]), None, "{chip:?}");
    }
    assert_eq!(known(&[0xE9]), known(&[0xE9, 0xE9]), "one byte says nothing else than erased flash");
}

proptest! {
    #[test]
    fn any_file_is_looked_at_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..60_usize) {
        let kinds = kinds();
        let (begins, ..) = &kinds[kind % kinds.len()];
        let begins = &begins[..begins.len().min(300)];
        let both = [begins, &bytes[..]].concat();
        let cut = &begins[..bytes.len().min(begins.len())];
        for cause in [&bytes[..], &both, cut].into_iter().filter_map(known) {
            prop_assert!(!cause.sentence().is_empty());
        }
    }
}
