use super::*;

const MB: u64 = 1 << 20;

fn write(file: &Arc<dyn File>, position: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(position, &[IoSlice::new(bytes)])
}

fn read(device: &Device, name: &str, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let n = device.mount().open(name)?.read_at(position, &mut buffer)?;
    buffer.truncate(n);
    Ok(buffer)
}

/// A device with a durable file "f" of 8 sectors of 'a'.
fn prepared(seed: u64) -> io::Result<(Device, Arc<dyn File>)> {
    let device = Device::new(seed, MB);
    let disk = device.mount();
    let file = disk.create("f", 4096)?;
    disk.sync_folder()?;
    write(&file, 0, &[b'a'; 4096])?;
    file.sync()?;
    Ok((device, file))
}

#[test]
fn conformance_of_the_device() -> io::Result<()> {
    crate::suite::run(&*Device::new(1, MB).mount())
}

#[test]
fn synced_bytes_survive_power_loss() -> io::Result<()> {
    for seed in 0..100 {
        let (device, file) = prepared(seed)?;
        write(&file, 100, &[b'b'; 1000])?;
        file.sync()?;
        device.lose_power();
        assert_eq!(read(&device, "f", 100, 1000)?, [b'b'; 1000]);
    }
    Ok(())
}

#[test]
fn unsynced_sectors_are_kept_lost_and_torn() -> io::Result<()> {
    let (mut kept, mut lost, mut torn, mut middle) = (0, 0, 0, 0);
    for seed in 0..300 {
        let (device, file) = prepared(seed)?;
        write(&file, 0, &[b'b'; 4096])?;
        write(&file, 512, &[b'c'; 512])?;
        device.lose_power();
        let bytes = read(&device, "f", 0, 4096)?;
        for sector in bytes.chunks(SECTOR) {
            assert!(sector.iter().all(|b| *b == sector[0]), "a sector is written whole or not at all");
        }
        let new = bytes.chunks(SECTOR).filter(|sector| sector[0] != b'a').count();
        match new {
            0 => lost += 1,
            8 => kept += 1,
            _ => torn += 1,
        }
        middle += usize::from(bytes[512] == b'b');
    }
    assert!(kept > 10 && lost > 10 && torn > 10 && middle > 10, "{kept} {lost} {torn} {middle}");
    Ok(())
}

#[test]
fn names_without_a_synced_folder_may_vanish_or_stay() -> io::Result<()> {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..100 {
        let device = Device::new(seed, MB);
        let disk = device.mount();
        disk.create("kept", 10)?;
        disk.sync_folder()?;
        disk.create("new", 10)?;
        disk.rename("kept", "moved")?;
        device.lose_power();
        let files: Vec<String> = device.files().into_iter().map(|(name, _)| name).collect();
        assert!(files.contains(&"kept".into()) ^ files.contains(&"moved".into()));
        if files.contains(&"new".into()) { there += 1 } else { gone += 1 }
    }
    assert!(there > 10 && gone > 10);
    Ok(())
}

#[test]
fn a_mount_ends_with_the_power_and_with_its_process() -> io::Result<()> {
    let (device, file) = prepared(1)?;
    write(&file, 0, b"x")?;
    device.kill();
    assert!(write(&file, 0, b"y").is_err() && file.sync().is_err());
    assert_eq!(read(&device, "f", 0, 1)?, b"x", "a kill loses nothing");
    let disk = device.mount();
    device.lose_power();
    assert!(disk.list().is_err() && disk.create("g", 1).is_err());
    Ok(())
}

#[test]
fn the_power_fails_at_the_nth_call() -> io::Result<()> {
    let (device, file) = prepared(3)?;
    device.fail(Call::Any, 2, Fault::Power);
    write(&file, 0, b"1")?;
    file.sync()?;
    assert!(write(&file, 1, b"2").is_err());
    assert!(file.sync().is_err(), "and stays off");
    assert_eq!(read(&device, "f", 0, 1)?, b"1");
    Ok(())
}

#[test]
fn a_failed_sync_is_not_repaired_by_the_next() -> io::Result<()> {
    let mut lost = 0;
    for seed in 0..100 {
        let (device, file) = prepared(seed)?;
        write(&file, 0, &[b'b'; 512])?;
        device.fail(Call::Sync, 0, Fault::Io);
        assert!(file.sync().is_err());
        file.sync()?;
        device.lose_power();
        lost += usize::from(read(&device, "f", 0, 1)? == b"a");
    }
    assert!(lost > 10, "{lost}");
    Ok(())
}

#[test]
fn a_short_write_leaves_some_of_it_behind() -> io::Result<()> {
    let (device, file) = prepared(5)?;
    device.fail(Call::Write, 0, Fault::Short);
    assert!(write(&file, 0, &[b'b'; 4096]).is_err());
    let bytes = read(&device, "f", 0, 4096)?;
    let written = bytes.iter().take_while(|b| **b == b'b').count();
    assert!(bytes[written..].iter().all(|b| *b == b'a') && written < 4096);
    Ok(())
}

#[test]
fn decay_says_where_it_was() -> io::Result<()> {
    let (device, _) = prepared(5)?;
    let Some(flip) = device.flip_bit(|name, _| name == "f") else { panic!("there is a written page") };
    let byte = read(&device, "f", flip.position, 1)?;
    assert!(byte[0] != b'a' && (byte[0] ^ b'a').is_power_of_two());
    assert_eq!(device.find(&byte)[0], flip);
    let Some(stale) = device.make_stale(|_, _| true) else { panic!("there is an overwritten sector") };
    assert_eq!(read(&device, "f", stale.position, 512)?, [0; 512]);
    device.truncate("f", 1000);
    assert_eq!(device.files(), [("f".into(), 1000)]);
    assert_eq!(device.flip_bit(|name, _| name == "other"), None);
    Ok(())
}

#[test]
fn a_full_disk_says_so() -> io::Result<()> {
    let device = Device::new(1, 10_000);
    let disk = device.mount();
    disk.create("a", 6_000)?;
    let Err(error) = disk.create("b", 6_000) else { panic!("there is no room for this") };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    device.set_capacity(20_000);
    disk.create("b", 6_000)?;
    assert_eq!(disk.space()?, Space { free: 8_000, total: 20_000 });
    Ok(())
}

#[test]
fn a_snapshot_brings_the_old_disk_back() -> io::Result<()> {
    let (device, file) = prepared(1)?;
    let old = device.snapshot();
    write(&file, 0, b"new")?;
    file.sync()?;
    assert_eq!(read(&device, "f", 0, 3)?, b"new");
    device.restore(&old);
    assert!(file.sync().is_err());
    assert_eq!(read(&device, "f", 0, 3)?, b"aaa");
    device.wipe();
    assert_eq!(device.files(), []);
    Ok(())
}

#[test]
fn the_same_seed_loses_the_same() -> io::Result<()> {
    let lose = |seed| {
        let (device, file) = prepared(seed)?;
        (0..50).try_for_each(|i| write(&file, i * 80, &[i as u8; 70]))?;
        device.lose_power();
        read(&device, "f", 0, 4096)
    };
    for seed in 0..20 {
        assert_eq!(lose(seed)?, lose(seed)?);
    }
    Ok(())
}

#[test]
fn big_files_cost_what_is_written_to_them() -> io::Result<()> {
    let started = std::time::Instant::now();
    let device = Device::new(1, 64 << 30);
    let disk = device.mount();
    let file = disk.create("segment", MB)?;
    for i in 0..100_000u64 {
        write(&file, i * 1024 % (MB - 1024), &[7; 1024])?;
        if i % 10 == 0 {
            file.sync()?;
        }
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    Ok(())
}
