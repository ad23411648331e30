use super::*;

fn image(images: &Images, tag: &str, bytes: usize) -> Option<Image> {
    let (room, tag) = (images.room(bytes as u64)?, Tag(tag.to_owned()));
    Some(Image::new(Bytes::from(vec![7; bytes]), tag, room))
}

fn named(tag: &str) -> Found {
    Found { key: tag.to_owned(), size: 60, tag: Tag(tag.to_owned()), modified: None, encoding: None }
}

fn of_100_bytes() -> Images {
    Images { room: Arc::new(Semaphore::new(100)), ..Images::default() }
}

#[test]
fn memory_is_bounded_by_what_is_still_being_sent() {
    let images = of_100_bytes();
    let part = {
        let first = image(&images, "first", 60).expect("there is room");
        images.keep("first", &first);
        first.part(3..5)
    };
    images.forget("first");
    assert!(images.room(60).is_none(), "a slow reader has a slice of it");
    assert_eq!(part, [7, 7].as_slice());
    drop(part);
    assert!(images.room(60).is_some());
}

#[test]
fn an_image_in_use_is_not_dropped_for_another_one() {
    let images = of_100_bytes();
    let first = image(&images, "first", 60).expect("there is room");
    images.keep("first", &first);
    let age = || {
        let asked = Instant::now().checked_sub(IN_USE).expect("a time");
        images.kept().get_mut("first").expect("kept").asked = asked;
    };
    age();
    assert!(images.room(60).is_none(), "somebody has it");
    drop(first);
    assert!(images.get(&named("first")).is_some());
    assert!(images.room(60).is_none(), "somebody asked for it a moment ago");
    age();
    assert!(images.room(60).is_some());
    assert!(images.get(&named("first")).is_none());
}

#[test]
fn an_image_of_another_tag_is_forgotten() {
    let images = of_100_bytes();
    images.keep("first", &image(&images, "another", 60).expect("there is room"));
    assert!(images.get(&named("first")).is_none());
    assert!(images.room(100).is_some());
}
